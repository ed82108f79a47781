# containerd through `ctr`: its shim has the runtime for its BinaryName, under a state root of its own.
# shellcheck shell=bash

cgroups='/default/'
things() {
    ctr containers ls -q
    ls -d /run/containerd/runc/default/*
    pgrep -a containerd-shim
}
clean() {
    local id
    for id in $(ctr tasks ls -q); do ctr tasks kill -s KILL -a "$id"; done
    sleep 0.3
    for id in $(ctr containers ls -q); do
        ctr tasks rm -f "$id"
        ctr containers rm "$id"
    done
}
image=localhost/busybox:latest
# go OPTION... COMMAND: in the foreground. up: in the background.
go() { ok ctr run --rm --runc-binary "$RUNTIME" "$@"; }
up() { ok ctr run -d --runc-binary "$RUNTIME" "$@"; }

it_passes_on_output_and_exit_codes() {
    go "$image" c echo hello
    prints hello
    ends 7 ctr run --rm --runc-binary "$RUNTIME" "$image" c sh -c 'exit 7'
}
a_program_that_is_missing_is_told() {
    ends 1 ctr run --rm --runc-binary "$RUNTIME" "$image" c /no/such
    says /no/such "no such file or directory"
}
it_is_killed_and_removed() {
    up "$image" c sleep 100
    ok ctr tasks ls
    says RUNNING
    ok ctr tasks kill -s KILL c
    soon sh -c 'ctr tasks ls | grep STOPPED'
    ends 1 ctr tasks kill -s KILL c
    says "not found"
    ok ctr tasks rm c
    ok ctr containers rm c
}
it_pauses_and_goes_on() {
    up "$image" c sleep 100
    ok ctr tasks pause c
    ok ctr tasks ls
    says PAUSED
    ok ctr tasks resume c
    ok ctr tasks ls
    says RUNNING
}
its_processes_and_metrics_are_shown() {
    up "$image" c sleep 100
    ok ctr tasks ps c
    says "$(ctr tasks ls | awk '$1 == "c" { print $2 }')"
    ok ctr tasks metrics c
    says pids.current
}
exec_runs_a_command_in_it() {
    up "$image" c sleep 100
    ok ctr tasks exec --exec-id e c echo hello
    prints hello
    ends 7 ctr tasks exec --exec-id e c sh -c 'exit 7'
    ends 1 ctr tasks exec --exec-id e c /no/such
    says "no such file or directory"
    ok ctr tasks exec --exec-id e --cwd /tmp --user 1000 c id -u
    prints 1000
}
a_terminal_is_made() {
    on_terminal 0 "ctr run --rm -t --runc-binary $RUNTIME $image c sh -c 'sleep 1; stty size'"
    says "33 77"
}
options_of_the_configuration_hold() {
    go --read-only "$image" c sh -c 'touch /x || echo read-only'
    says read-only
    go --privileged "$image" c grep CapEff /proc/self/status
    go --user 1000:1000 "$image" c id -u
    prints 1000
    go --mount type=bind,src=/etc,dst=/x,options=rbind:ro "$image" c test -e /x/passwd
    go --net-host "$image" c true
    go --seccomp "$image" c grep Seccomp: /proc/self/status
    says 2
    go --rootfs-propagation slave "$image" c true
    go --uidmap 0:100000:65536 --gidmap 0:100000:65536 "$image" c cat /proc/self/uid_map
}
limits_are_read_back() {
    grep -q memory /sys/fs/cgroup/cgroup.controllers || skip "no controllers"
    up --memory-limit 67108864 --cpus 0.5 "$image" c sleep 100
    local pid
    pid=$(ctr tasks ls | awk '$1 == "c" { print $2 }')
    ok cgroup_of "$pid" memory.max && prints 67108864
    ok cgroup_of "$pid" cpu.max && prints "50000 100000"
}
a_killed_shim_leaves_what_can_be_removed() {
    up "$image" c sleep 100
    local pid shim
    pid=$(ctr tasks ls | awk '$1 == "c" { print $2 }')
    shim=$(pgrep -f 'containerd-shim.* -id c ')
    kill -KILL "$shim"
    soon gone "$pid"
    ok "$RUNTIME" --root /run/containerd/runc/default delete -f c
}
many_live_at_once() {
    local i
    for i in 1 2 3 4; do up "$image" "c$i" sleep 100 & done
    wait
    ok ctr tasks ls
    says c1 c2 c3 c4
}
it_is_saved_and_goes_on() {
    criu check >/dev/null 2>&1 || skip "criu can't here: $(criu check 2>&1 | head -n 1)"
    up "$image" c sh -c 'i=0; while :; do i=$((i+1)); echo $i >/n; sleep 0.1; done'
    soon ctr tasks exec --exec-id e c test -e /n
    ok ctr containers checkpoint --task --rw c saved
    ok ctr tasks exec --exec-id f c true
    ok ctr tasks kill -s KILL c
    soon sh -c 'ctr tasks ls | grep STOPPED'
    ok ctr tasks rm c
    ok ctr containers rm c
    ok ctr containers restore --live --rw c saved
    ok ctr tasks ls
    says RUNNING
    ok ctr tasks exec --exec-id g c cat /n
    ok ctr images rm saved
}
