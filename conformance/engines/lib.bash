# Sourced by a case: how it runs commands and says what is wrong. A case is a function whose name is what is promised.
# Whatever it runs is in its log, and it ends at the first thing that isn't as it should be.
# shellcheck shell=bash

fail() { echo "FAIL $*"; exit 1; }
skip() { echo "SKIP $*"; exit 77; }

# ran COMMAND...: its output, both descriptors, is $out, its exit code $code.
ran() {
    echo "+ ${*//$'\n'/ }"
    code=0
    out=$("$@" 2>&1 </dev/null) || code=$?
    out=${out//$'\r'/}
    [[ -z $out ]] || echo "$out"
    echo "= $code"
}
# ends CODE COMMAND...
ends() {
    local want=$1
    shift
    ran "$@"
    ((code == want)) || fail "\`${*//$'\n'/ }\` ended with $code, not $want: ${out##*$'\n'}"
}
ok() { ends 0 "$@"; }
# says TEXT...: each is somewhere in the output, in capitals or not. prints TEXT: it is the output.
says() {
    local text
    for text; do [[ ${out,,} == *"${text,,}"* ]] || fail "no $text in: $out"; done
}
prints() { [[ $out == "$1" ]] || fail "it prints \"$out\", not \"$1\""; }
# on_terminal CODE COMMAND [INPUT]: ends so on a terminal of 33 lines and 77 columns, where somebody types INPUT.
on_terminal() {
    local dir terminal
    dir=$(mktemp -d)
    # In a file, as socat has quotes of its own; and the code in one, as it has codes of its own.
    printf 'stty rows 33 cols 77\n%s\necho $? >%s/code\n' "$2" "$dir" >"$dir/script"
    terminal="EXEC:sh $dir/script,pty,setsid,ctty,stderr"
    echo "+ $2"
    # It lasts until the terminal is closed, whatever comes in.
    out=$(if (($# > 2)); then sleep 3; echo "$3"; fi | socat -t 0.2 -,ignoreeof "$terminal" 2>&1) || :
    out=${out//$'\r'/}
    code=$(cat "$dir/code" 2>/dev/null || echo 255)
    rm -r "$dir"
    echo "$out"
    echo "= $code"
    ((code == $1)) || fail "on a terminal \`$2\` ended with $code, not $1: ${out##*$'\n'}"
}
# oracle REASON: in a case in which ours isn't as crun is, for a reason: is this crun?
oracle() {
    echo "DIFFERS $1"
    [[ ${RUNTIME##*/} == crun ]]
}
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
