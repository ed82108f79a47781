# docker, with the runtime as dockerd's default.
# shellcheck shell=bash

cgroups='/docker/|docker-'
things() {
    docker ps -aq
    ls -d /run/docker/runtime-runc/moby/*
    pgrep -a containerd-shim
}
clean() {
    docker ps -aq | xargs -r docker rm -f
    docker volume prune -af
}
up() { ok docker run --network none -d --name box "$@"; }
pidof() { docker inspect -f '{{.State.Pid}}' "$1"; }
limits() { grep -q memory /sys/fs/cgroup/cgroup.controllers || skip "no controllers"; }

it_is_a_runtime_of_docker() {
    ok docker info -f '{{.DefaultRuntime}}'
    prints "${RUNTIME##*/}"
    ok docker run --network none --rm --runtime "${RUNTIME##*/}" localhost/busybox echo hello
    prints hello
}
it_passes_on_exit_codes() {
    ends 7 docker run --network none --rm localhost/busybox sh -c 'exit 7'
    ends 127 docker run --network none --rm localhost/busybox no-such
    ends 127 docker run --network none --rm localhost/busybox /no/such
    ends 126 docker run --network none --rm localhost/busybox /etc
    ends 126 docker run --network none --rm localhost/busybox /etc/passwd
    ok docker run --network none --rm -w /no/such localhost/busybox pwd
    prints /no/such
}
input_and_terminals_work() {
    out=$(echo hello | docker run --network none --rm -i localhost/busybox cat) || fail "it ended with $?"
    prints hello
    on_terminal 'docker run --network none --rm -it localhost/busybox sh -c "sleep 1; stty size"'
    says "33 77"
}
it_is_stopped_and_killed() {
    up localhost/busybox sh -c 'trap "exit 5" TERM; while :; do sleep 0.1; done'
    sleep 0.5
    ok docker stop box
    ok docker inspect -f '{{.State.ExitCode}}' box
    prints 5
    ok docker start box
    ok docker kill box
    ok docker wait box
    prints 137
    ok docker restart box
}
it_pauses_and_goes_on() {
    up localhost/busybox sleep 100
    ok docker pause box
    ok docker ps --format '{{.Status}}'
    says Paused
    ok docker unpause box
    ok docker top box
    says "sleep 100"
}
exec_runs_a_command_in_it() {
    up localhost/busybox sleep 100
    ok docker exec box echo hello
    prints hello
    ends 7 docker exec box sh -c 'exit 7'
    ends 127 docker exec box no-such
    ran docker exec box /etc
    ((code != 0)) || fail "it ran"
    ok docker exec -u 1000 -w /tmp -e A=1 box sh -c 'id -u; pwd; echo $A'
    prints $'1000\n/tmp\n1'
    on_terminal 'docker exec -it box sh -c "sleep 1; stty size"'
    says "33 77"
}
limits_are_changed_and_shown() {
    limits
    up --memory 64m --cpus 0.5 --pids-limit 33 localhost/busybox sleep 100
    ok docker exec box cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
    prints $'67108864\n33'
    ok docker update --memory 128m --memory-swap 128m box
    ok docker exec box cat /sys/fs/cgroup/memory.max
    prints 134217728
    ok docker stats --no-stream --format '{{.Name}} {{.MemUsage}}' box
    says 128MiB
}
options_of_the_configuration_hold() {
    ok docker run --network none --rm --read-only --tmpfs /x:size=1m localhost/busybox sh -c 'touch /x/y; touch /y || echo read-only'
    says read-only
    ok docker run --network none --rm --init localhost/busybox ps
    says init
    ok docker run --network none --rm --cap-drop ALL localhost/busybox grep CapEff /proc/self/status
    says 0000000000000000
    ok docker run --network none --rm --privileged localhost/busybox mount -t tmpfs x /tmp
    ok docker run --network none --rm --user user --group-add 2000 --ulimit nofile=99 --hostname web localhost/busybox sh -c 'id -u; hostname; ulimit -n'
    prints $'1000\nweb\n99'
    ok docker run --network none --rm -v named:/copied --device /dev/null:/dev/other --sysctl net.ipv4.ip_default_ttl=33 --oom-score-adj 500 \
        localhost/busybox cat /copied/file /proc/sys/net/ipv4/ip_default_ttl
    prints $'copied\n33'
    ok docker run --rm --pid host --network host --ipc host --uts host localhost/busybox true
    ok docker run --network none --rm --security-opt no-new-privileges --security-opt seccomp=unconfined localhost/busybox true
}
services_are_composed() {
    local dir=/run/engines/compose
    mkdir -p "$dir"
    cat >"$dir/compose.yaml" <<'END'
services:
  one: {image: "localhost/busybox", network_mode: none, command: [sh, -c, "echo one >/shared/one; sleep 100"], volumes: ["shared:/shared"]}
  two: {image: "localhost/busybox", network_mode: none, command: [sleep, "100"], volumes: ["shared:/shared:ro"], depends_on: [one]}
volumes: {shared: {}}
END
    cd "$dir"
    ok docker compose up -d
    ok docker compose ps --format '{{.Service}} {{.State}}'
    says "one running" "two running"
    ok docker compose exec -T two cat /shared/one
    prints one
    ok docker compose down -t 0 -v
}
a_killed_shim_leaves_what_can_be_removed() {
    up localhost/busybox sleep 100
    local pid shim
    pid=$(pidof box)
    shim=$(pgrep -f "containerd-shim.* -id $(docker inspect -f '{{.Id}}' box)")
    kill -KILL "$shim"
    soon gone "$pid"
    ok docker rm -f box
}
