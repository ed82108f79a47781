# buildah, which drives the runtime itself: create, start, state, kill, delete.
# shellcheck shell=bash

cgroups='/buildah'
things() {
    buildah containers -q
    ls -d "$state_root"/*
}
clean() { buildah rm -a; }
run() { ok buildah run --isolation oci --runtime "$RUNTIME" --network none "$@"; }

commands_run_in_working_containers() {
    ok buildah from --name w localhost/busybox
    run w echo hello
    prints hello
    run --user user --workingdir /tmp w sh -c 'id -u; pwd'
    prints $'1000\n/tmp'
    ends 7 buildah run --isolation oci --runtime "$RUNTIME" --network none w sh -c 'exit 7'
    ends 1 buildah run --isolation oci --runtime "$RUNTIME" --network none w /no/such
    says /no/such
    ok buildah rm w
}
a_terminal_is_made() {
    ok buildah from --name w localhost/busybox
    on_terminal 0 "buildah run --isolation oci --runtime $RUNTIME --network none -t w stty size"
    says "33 77"
}
images_are_built() {
    local dir=$HOME/bud
    mkdir -p "$dir"
    printf 'FROM localhost/busybox\nRUN --mount=type=tmpfs,target=/t touch /t/x && echo built >/built\nRUN cat /built\n' >"$dir/Containerfile"
    ok buildah bud --isolation oci --runtime "$RUNTIME" --network none -t bud "$dir"
    says built
    ok buildah rmi bud
}
