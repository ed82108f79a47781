# Sourced by a case: how it runs commands and says what is wrong. A case is a function whose name is what is promised.
# Whatever it runs is in its log, and it ends at the first thing that isn't as it should be.
# shellcheck shell=bash

fail() { echo "FAIL $*"; exit 1; }
skip() { echo "SKIP $*"; exit 77; }

# ran COMMAND...: its output, both descriptors, is $out, its exit code $code.
ran() {
    echo "+ $*"
    code=0
    out=$("$@" 2>&1 </dev/null) || code=$?
    out=${out//$'\r'/}
    [[ -z $out ]] || echo "$out"
    ((code == 0)) || echo "= $code"
}
# ends CODE COMMAND...
ends() {
    local want=$1
    shift
    ran "$@"
    ((code == want)) || fail "\`$*\` ended with $code, not $want: ${out##*$'\n'}"
}
ok() { ends 0 "$@"; }
# says TEXT...: each is somewhere in the output, in capitals or not. prints TEXT: it is the output.
says() {
    local text
    for text; do [[ ${out,,} == *"${text,,}"* ]] || fail "no $text in: $out"; done
}
prints() { [[ $out == "$1" ]] || fail "it prints \"$out\", not \"$1\""; }
# on_terminal COMMAND: on one of 33 lines and 77 columns.
on_terminal() {
    # In a file: socat has quotes of its own.
    local script
    script=$(mktemp)
    printf 'stty rows 33 cols 77\n%s\n' "$1" >"$script"
    # It waits for the end though nothing comes in.
    ok socat -t 60 - "EXEC:sh $script,pty,setsid,ctty,stderr"
    rm "$script"
}
# overlays: the User-mode Linux has none, and podman wants one for a pod's first container.
overlays() { grep -qw overlay /proc/filesystems || skip "no overlays in this kernel"; }
# soon COMMAND...: within ten seconds it holds.
soon() {
    local i
    for ((i = 0; i < 100; i++)); do
        "$@" >/dev/null 2>&1 && return
        sleep 0.1
    done
    fail "not within ten seconds: $*"
}
# is WANT COMMAND...: for soon.
is() { [[ $("${@:2}" 2>/dev/null) == "$1" ]]; }
# gone PID: nobody, or a zombie.
gone() { [[ ! -e /proc/$1 || $(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null) == [ZX] ]]; }

# cgroup_of PID FILE: as the kernel has it.
cgroup_of() { cat "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$1/cgroup")/$2"; }
# The runtime's own state, where podman lets it be.
state_root=${XDG_RUNTIME_DIR:-/run}/${RUNTIME##*/}
((UID != 0)) || state_root=/run/${RUNTIME##*/}
