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
    local missing=127 denied=126
    ! oracle "docker does not know crun's words for what is no program: 125" || missing=125 denied=125
    ends "$missing" docker run --network none --rm localhost/busybox no-such
    ends "$missing" docker run --network none --rm localhost/busybox /no/such
    ends "$denied" docker run --network none --rm localhost/busybox /etc
    ends "$denied" docker run --network none --rm localhost/busybox /etc/passwd
    ok docker run --network none --rm -w /no/such localhost/busybox pwd
    prints /no/such
}
input_and_terminals_work() {
    out=$(echo hello | docker run --network none --rm -i localhost/busybox cat) || fail "it ended with $?"
    prints hello
    on_terminal 0 'docker run --network none --rm -it localhost/busybox sh -c "sleep 1; stty size"'
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
    local directory=126
    ! oracle "docker does not know crun's words for a directory: 128" || directory=128
    ends "$directory" docker exec box /etc
    ok docker exec -u 1000 -w /tmp -e A=1 box sh -c 'id -u; pwd; echo $A'
    prints $'1000\n/tmp\n1'
    on_terminal 0 'docker exec -it box sh -c "sleep 1; stty size"'
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
networks_are_joined() {
    ok docker network create net
    ok docker run -d --name box --network net localhost/busybox sleep 100
    local address
    address=$(docker inspect -f '{{.NetworkSettings.Networks.net.IPAddress}}' box)
    ok docker run --rm --network net localhost/busybox ping -c 1 -W 5 "$address"
    ok docker run --rm --network container:box localhost/busybox ip address show eth0
    says "$address"
    ok docker rm -f box
    ok docker network rm net
}
attach_logs_and_copies_reach_it() {
    up localhost/busybox sh -c 'echo out; echo err >&2; sleep 100'
    soon sh -c 'docker logs box 2>&1 | grep out'
    ok docker logs box
    says out err
    ok docker cp box:/copied/file /run/engines/file
    ok docker cp /run/engines/file box:/tmp/file
    ok docker exec box cat /tmp/file
    prints copied
    ok docker diff box
    says /tmp/file
    ok docker commit box committed
    ok docker run --rm --network none committed cat /tmp/file
    prints copied
    ok docker rmi committed
}
images_are_built() {
    local dir=/run/engines/build
    mkdir -p "$dir"
    printf 'FROM localhost/busybox\nRUN echo built >/built\nUSER user\nCMD ["cat", "/built"]\n' >"$dir/Dockerfile"
    ok env DOCKER_BUILDKIT=0 docker build --network none -t built "$dir"
    ok docker run --network none --rm built
    prints built
    ok docker rmi built
}
health_is_checked() {
    up --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 localhost/busybox sh -c 'sleep 4; touch /tmp/well; sleep 100'
    soon is unhealthy docker inspect -f '{{.State.Health.Status}}' box
    soon is healthy docker inspect -f '{{.State.Health.Status}}' box
}
it_is_restarted_after_a_failure() {
    up --restart on-failure:2 localhost/busybox sh -c 'exit 3'
    soon is 2 docker inspect -f '{{.RestartCount}}' box
    soon is exited docker inspect -f '{{.State.Status}}' box
    ok docker inspect -f '{{.State.ExitCode}}' box
    prints 3
}
what_runs_out_of_memory_is_told() {
    limits
    # Not the first process: the shim misses the event when that ends at once, with each runtime.
    ok docker run --network none --name box --memory 16m --memory-swap 16m localhost/busybox \
        sh -c 'sleep 1; (a=x; while :; do a=$a$a$a$a; done); sleep 1'
    ok docker inspect -f '{{.State.OOMKilled}}' box
    prints true
}
it_ends_with_the_daemon_and_starts_again() {
    up --restart always --stop-timeout 1 localhost/busybox sleep 100
    local pid
    pid=$(pidof box)
    ok systemctl kill -s KILL docker.service
    soon gone "$pid"
    soon docker exec box true
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
