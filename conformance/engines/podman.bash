# Podman, root and not, with each cgroup manager: MODE, MANAGER and CGROUPS say which.
# shellcheck shell=bash

cgroups='/(libpod|crun|conmon|minidocker)'
# Where podman keeps what it has: not asked for each time, as that takes it long.
storage=$HOME/.local/share/containers/storage
((UID)) || storage=/var/lib/containers/storage
things() {
    ls -d "$storage"/overlay-containers/*/ "$storage"/volumes/*/ "$state_root"/*
    pgrep -a conmon
}
clean() {
    podman pod rm -af -t 0
    podman rm -af -t 0
    podman volume rm -af
}

root() { ((UID == 0)) || skip "root only"; }
limits() { [[ $CGROUPS == enabled ]] || skip "no cgroup for it"; }
pidof() { podman inspect -f '{{.State.Pid}}' "$1"; }
# up OPTION... IMAGE COMMAND...: a container named c in the background.
up() { ok podman run -d --name c "$@"; }

it_passes_on_output_and_exit_codes() {
    ok podman run --rm busybox echo hello
    prints hello
    ends 7 podman run --rm busybox sh -c 'exit 7'
    ends 125 podman run --no-such-flag busybox true
    ends 143 podman run --rm busybox sh -c 'sh -c "kill \$\$; sleep 9"; exit $?'
}
a_program_that_is_missing_is_127() {
    ends 127 podman run --rm busybox /no/such
    says /no/such "no such file or directory"
    ends 127 podman run --rm busybox no-such
    says no-such 'executable file'
    ends 127 podman run --rm --entrypoint '["no-such"]' busybox
}
what_is_no_program_is_126() {
    ends 126 podman run --rm busybox /etc
    ends 126 podman run --rm busybox /etc/passwd
    says "ermission denied"
}
a_missing_interpreter_is_told() {
    if oracle "crun has started it when the kernel says so: 1"; then
        ends 1 podman run --rm busybox /bin/no-interpreter
    else
        ends 127 podman run --rm busybox /bin/no-interpreter
        says /no/interpreter
    fi
    says "o such file or directory"
}
a_missing_working_directory_is_told() {
    ends 126 podman run --rm -w /no/such busybox pwd
    says /no/such
    ok podman run --rm -w /tmp busybox pwd
    prints /tmp
}
input_goes_in() {
    out=$(echo hello | podman run --rm -i busybox cat) || fail "it ended with $?"
    prints hello
    out=$(head -c 3000000 /dev/zero | podman run --rm -i busybox wc -c)
    prints 3000000
}
a_terminal_has_the_size_of_the_callers() {
    on_terminal 0 'podman run --rm -it busybox sh -c "sleep 1; stty size"'
    says "33 77"
    on_terminal 0 'podman run --rm -it busybox tty'
    says /dev/pts/0
    on_terminal 5 'podman run --rm -it busybox sh' 'echo typed$((40 + 2)); exit 5'
    says typed42
}
in_the_background_it_is_waited_for_and_its_log_is_read() {
    up busybox sh -c 'echo out; echo err >&2; exit 3'
    ok podman wait c
    prints 3
    ok podman logs c
    says out err
    ok podman inspect -f '{{.State.Status}} {{.State.ExitCode}}' c
    prints "exited 3"
    ok podman rm c
}
it_is_stopped_by_its_signal_and_then_killed() {
    up busybox sh -c 'trap "echo bye; exit 5" TERM; while :; do sleep 0.1; done'
    sleep 0.5
    ok podman stop -t 10 c
    ok podman inspect -f '{{.State.ExitCode}}' c
    prints 5
    ok podman rm c
    up --stop-signal USR1 busybox sh -c 'trap "" USR1; while :; do sleep 0.1; done'
    sleep 0.5
    ok podman stop -t 1 c
    ok podman inspect -f '{{.State.ExitCode}}' c
    prints 137
    ok podman rm c
}
it_is_killed_by_any_signal() {
    up busybox sh -c 'trap "echo hup" HUP; while :; do sleep 0.1; done'
    sleep 0.5
    ok podman kill -s HUP c
    soon is hup podman logs c
    ok podman kill c
    ok podman wait c
    prints 137
    ends 125 podman kill c
    ok podman rm c
}
it_starts_again() {
    up busybox sh -c 'echo up; sleep 100'
    ok podman restart -t 0 c
    soon is "$(printf 'up\nup')" podman logs c
    ok podman stop -t 0 c
    ok podman start c
    ok podman rm -f -t 0 c
}
it_is_restarted_after_a_failure() {
    up --restart on-failure:2 busybox sh -c 'echo up; exit 1'
    soon is 2 podman inspect -f '{{.RestartCount}}' c
    ok podman rm -f -t 0 c
}
a_created_container_is_removed_without_a_start() {
    ok podman create --name c busybox true
    ok podman init c
    ok podman inspect -f '{{.State.Status}}' c
    prints initialized
    ok podman rm -f -t 0 c
    ok podman create --name c busybox sh -c 'exit 4'
    ok podman init c
    ends 4 podman start -a c
}
attach_shows_what_it_prints() {
    up busybox sh -c 'sleep 3; echo seen'
    ok podman attach c
    says seen
}
exec_runs_a_command_in_it() {
    up -e A=1 busybox sleep 100
    ok podman exec -e B=2 c sh -c 'echo $A$B'
    prints 12
    ends 7 podman exec c sh -c 'exit 7'
    ok podman exec -w /tmp -u user c sh -c 'pwd; id -u; id -G'
    prints $'/tmp\n1000\n1000 2000'
    out=$(echo hello | podman exec -i c cat)
    prints hello
    ok podman exec --privileged c grep CapEff /proc/self/status
    says fffff
    ok podman exec -d c touch /tmp/made
    soon podman exec c test -e /tmp/made
    out=$(head -c 1000000 /dev/zero | podman exec -i c wc -c)
    prints 1000000
}
exec_of_what_is_missing_is_127() {
    up busybox sleep 100
    ends 127 podman exec c /no/such
    ends 127 podman exec c no-such
    ends 126 podman exec c /etc
    ends 127 podman exec -w /no/such c true
    says /no/such
}
exec_has_a_terminal() {
    up busybox sleep 100
    on_terminal 0 'podman exec -it c sh -c "sleep 1; stty size"'
    says "33 77"
}
exec_ends_with_the_container() {
    up busybox sleep 100
    podman exec c sleep 100 &
    sleep 1
    ok podman kill c
    code=0
    wait $! || code=$?
    ((code == 137)) || fail "exec ended with $code"
}
it_pauses_and_goes_on() {
    limits
    up busybox sh -c 'while :; do echo x; sleep 0.1; done'
    ok podman pause c
    ok podman inspect -f '{{.State.Status}}' c
    prints paused
    local lines
    sleep 0.3
    lines=$(podman logs c | wc -l)
    sleep 0.5
    is "$lines" sh -c 'podman logs c | wc -l' || fail "it runs on"
    ends 255 podman exec c true
    ok podman unpause c
    sleep 0.5
    ! is "$lines" sh -c 'podman logs c | wc -l' || fail "it doesn't go on"
    ok podman pause c
    ok podman rm -f -t 0 c
}
limits_are_read_back() {
    limits
    up --memory 64m --memory-reservation 32m --memory-swap 96m --cpus 0.5 --pids-limit 33 --cpu-shares 512 busybox sleep 100
    local pid
    pid=$(pidof c)
    ok cgroup_of "$pid" memory.max && prints 67108864
    ok cgroup_of "$pid" memory.low && prints 33554432
    ok cgroup_of "$pid" memory.swap.max
    ok cgroup_of "$pid" pids.max && prints 33
    ok cgroup_of "$pid" cpu.max && prints "50000 100000"
    ok podman run --rm --memory 48m busybox cat /sys/fs/cgroup/memory.max
    prints 50331648
}
unified_properties_are_read_back() {
    limits
    up --cgroup-conf memory.high=50331648 busybox sleep 100
    ok cgroup_of "$(pidof c)" memory.high
    prints 50331648
    ends 126 podman run --rm --cgroup-conf no.such=1 busybox true
}
update_changes_limits() {
    limits
    up --memory 64m busybox sleep 100
    ok podman update --memory 128m --cpus 0.25 --pids-limit 44 c
    ok cgroup_of "$(pidof c)" memory.max && prints 134217728
    ok cgroup_of "$(pidof c)" cpu.max && prints "25000 100000"
    ok cgroup_of "$(pidof c)" pids.max && prints 44
    ok podman update --cpu-shares 2048 c
    ok podman inspect -f '{{.HostConfig.Memory}}' c
    prints 134217728
}
a_limit_that_cannot_be_is_told() {
    limits
    ends 126 podman run --rm --cpuset-cpus 77 busybox true
    says cpuset
    ends 126 podman run --rm --memory 64m --memory-swap 32m busybox true
    says memory swap
}
what_runs_out_of_memory_is_told() {
    limits
    ends 137 podman run --name c --memory 16m --memory-swap 16m busybox sh -c 'a=x; while :; do a=$a$a$a$a; done'
    ok podman inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' c
    prints "true 137"
    ok podman rm c
}
top_stats_and_events_know_it() {
    limits
    up --memory 64m busybox sleep 100
    ok podman top c pid comm
    says sleep
    ok podman stats --no-stream --no-reset --format '{{.Name}} {{.MemLimit}} {{.PIDs}}' c
    says "c " " 1"
    ok podman ps --format '{{.Names}} {{.Status}}'
    says "c Up"
    ok podman events --stream=false --filter container=c --format '{{.Status}}'
    says create start
}
volumes_are_as_their_options_say() {
    local dir=$HOME/volume
    mkdir -p "$dir" && echo kept >"$dir/file"
    ok podman run --rm -v "$dir:/v" busybox sh -c 'cat /v/file; echo new >/v/new'
    prints kept
    ok cat "$dir/new"
    ends 1 podman run --rm -v "$dir:/v:ro" busybox touch /v/no
    says "ead-only"
    ok podman run --rm -v "$dir:/v:Z" -v "$dir:/w:z,U" busybox cat /v/file /w/file
    ok podman run --rm -v named:/n busybox sh -c 'echo x >/n/x'
    ok podman run --rm -v named:/n:ro,nosuid,nodev,noexec busybox grep ' /n ' /proc/self/mountinfo
    says ro, nosuid nodev noexec
    ok podman run --rm --mount type=bind,src="$dir",dst=/b,ro,bind-propagation=rslave busybox cat /b/file
    ok podman run --rm --mount type=bind,src="$dir/file",dst=/made/by/it busybox cat /made/by/it
    ends 125 podman run --rm -v /no/such:/x busybox true
    ok podman run --rm --volume copied:/copied busybox cat /copied/file
}
a_volume_is_id_mapped() {
    root
    local dir=/var/mapped
    mkdir -p "$dir" && touch "$dir/file" && chown 1000:1000 "$dir/file"
    ok podman run --rm --uidmap 0:200000:5000 --gidmap 0:200000:5000 -v "$dir:/v:idmap" busybox stat -c %u:%g /v/file
    prints 1000:1000
    ok podman run --rm -v "$dir:/v:idmap=uids=1000-3000-1;gids=1000-3000-1" busybox stat -c %u:%g /v/file
    prints 3000:3000
}
a_tmpfs_has_its_size_and_what_was_there() {
    ok podman run --rm --tmpfs /copied:size=1m,mode=1770 busybox sh -c 'cat /copied/file; df -k /copied; stat -c %a /copied'
    says copied 1024 1770
    ok podman run --rm --tmpfs /x busybox grep ' /x ' /proc/self/mountinfo
    says nosuid nodev
    ok podman run --rm --mount type=tmpfs,dst=/copied,notmpcopyup busybox ls /copied
    prints ''
}
a_read_only_root_has_writable_places() {
    ends 1 podman run --rm --read-only busybox touch /x
    says "ead-only"
    ok podman run --rm --read-only busybox sh -c 'echo x >/tmp/x; echo x >/run/x; echo x >/dev/shm/x; echo x >/var/tmp/x'
    ends 1 podman run --rm --read-only --read-only-tmpfs=false busybox touch /tmp/x
}
user_namespaces_map_ids() {
    if ((UID == 0)); then
        ok podman run --rm --userns=auto busybox cat /proc/self/uid_map
        says "1000000"
        ok podman run --rm --userns=auto:size=7000 --volume u:/u:U busybox sh -c 'touch /u/x; id -u'
    else
        ok podman run --rm --userns=keep-id busybox id -u
        prints 1000
        ok podman run --rm --userns=nomap busybox cat /proc/self/uid_map
    fi
    ok podman run --rm --uidmap 0:1:1000 --uidmap 1000:0:1 --gidmap 0:1:1000 --gidmap 1000:0:1 busybox cat /proc/self/uid_map
    says 1000
    ok podman run --rm --userns=host busybox true
}
namespaces_are_shared_as_asked() {
    limits
    up --uts private --hostname first --shm-size 1m busybox sleep 100
    ok podman run --rm --uts host --ipc container:c --pid container:c --network container:c busybox sh -c 'df -k /dev/shm; ps'
    says 1024 "sleep 100"
    ok podman run --rm --pid host busybox sh -c 'test -d /proc/'$$
    ok podman run --rm --ipc host busybox true
    ok podman run --rm --network host busybox true
    ok podman run --rm --cgroupns host busybox cat /proc/self/cgroup
    ok podman run --rm --cgroupns private busybox cat /proc/self/cgroup
    prints 0::/
    ok podman run --rm --network none busybox ip link show lo
    says UP
}
names_sysctls_and_limits_are_set() {
    ok podman run --rm --hostname web busybox hostname
    prints web
    ok podman run --rm --sysctl net.ipv4.ip_default_ttl=33 --sysctl kernel.msgmax=9000 busybox cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/kernel/msgmax
    prints $'33\n9000'
    ends 125 podman run --rm --sysctl kernel.panic=1 busybox true
    ok podman run --rm --ulimit nofile=100:100 --ulimit core=0:0 busybox sh -c 'ulimit -n; ulimit -c'
    prints $'100\n0'
    ok podman run --rm --umask 0077 busybox sh -c umask
    prints 0077
    ok podman run --rm --oom-score-adj 500 busybox cat /proc/self/oom_score_adj
    prints 500
    ok podman run --rm --env B=2 --env-host=false busybox sh -c 'echo $B'
    prints 2
}
users_and_groups_are_set() {
    ok podman run --rm --user 1000:1000 busybox id
    says uid=1000 gid=1000
    ok podman run --rm --user user --group-add 2000 busybox id -G
    says 1000 2000
    ok podman run --rm --user 5000 busybox id -u
    prints 5000
    ends 126 podman run --rm --user nobody-here busybox true
    if ((UID)); then ok podman run --rm --group-add keep-groups busybox id; fi
}
capabilities_are_set() {
    ok podman run --rm --cap-drop all busybox grep CapEff /proc/self/status
    says 0000000000000000
    ok podman run --rm --cap-drop all --cap-add net_admin busybox grep CapBnd /proc/self/status
    says 0000000000001000
    ok podman run --rm --user 1000 --cap-add sys_time --security-opt no-new-privileges busybox cat /proc/self/status
    says "NoNewPrivs:	1"
    ok podman run --rm --cap-add all busybox true
}
privileged_has_all() {
    ok podman run --rm --privileged busybox sh -c 'mount -t tmpfs x /tmp && ls /dev/null && echo mounted; grep Seccomp: /proc/self/status'
    says mounted "Seccomp:	0"
    ok podman run --rm --privileged --read-only busybox true
}
a_seccomp_profile_is_loaded() {
    local profile=$HOME/seccomp.json
    cat >"$profile" <<'END'
{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":95}]}
END
    ends 1 podman run --rm --security-opt seccomp="$profile" busybox mkdir /x
    says "not supported"
    ok podman run --rm --security-opt seccomp=unconfined busybox grep Seccomp: /proc/self/status
    says 0
    ok podman run --rm busybox grep Seccomp: /proc/self/status
    says 2
}
paths_are_masked_and_unmasked() {
    ok podman run --rm --security-opt mask=/etc/passwd:/copied busybox sh -c 'cat /etc/passwd; ls /copied'
    prints ''
    ends 1 podman run --rm --security-opt unmask=ALL busybox grep ' /proc/[^ ]* ' /proc/self/mountinfo
    ok podman run --rm --security-opt proc-opts=hidepid=2 busybox grep ' /proc ' /proc/self/mountinfo
    says hidepid=
    ok podman run --rm --security-opt label=disable busybox true
}
devices_are_there() {
    ok podman run --rm --device /dev/null:/dev/other busybox sh -c 'echo x >/dev/other; stat -c %F /dev/other'
    says "character special file"
    root
    [[ $CGROUPS == enabled ]] || return 0
    # Not one of those that every container may use.
    [[ -e /dev/kmsg ]] || skip "no device to deny"
    ends 1 podman run --rm --device /dev/kmsg:/dev/other:r busybox sh -c 'echo x >/dev/other'
    says "not permitted"
    ok podman run --rm --cap-add mknod --device-cgroup-rule "c 1:3 m" busybox mknod /dev/n c 1 3
}
an_init_reaps() {
    ok podman run --rm --init busybox sh -c 'ps -o comm | head -n 2'
    says init
    up --init busybox sleep 100
    ok podman stop -t 5 c
    ok podman inspect -f '{{.State.ExitCode}}' c
    prints 143
}
readiness_is_passed_on() {
    [[ $MANAGER == systemd ]] || skip "no systemd to tell"
    root
    systemctl reset-failed ready ready2 >/dev/null 2>&1 || :
    ok systemd-run --quiet --unit ready --service-type=notify -p NotifyAccess=all -p TimeoutStartSec=30 -E CONTAINERS_CONF_OVERRIDE="$CONTAINERS_CONF_OVERRIDE" \
        podman run --name c --sdnotify=container -v /usr:/usr:ro debian sh -c 'systemd-notify --ready --status=in; sleep 100'
    ok systemctl show -P StatusText ready
    prints "in"
    ok podman rm -f -t 0 c
    ok systemd-run --quiet --unit ready2 --service-type=notify -p NotifyAccess=all -p TimeoutStartSec=30 -E CONTAINERS_CONF_OVERRIDE="$CONTAINERS_CONF_OVERRIDE" \
        podman run --name d --sdnotify=conmon busybox sleep 100
    ok systemctl is-active ready2
    ok podman rm -f -t 0 d
    systemctl reset-failed ready ready2 || :
}
systemd_runs_in_it() {
    limits
    [[ $MANAGER == systemd || $UID == 0 ]] || skip "no cgroup to delegate"
    up --systemd=always -v /usr:/usr:ro debian /lib/systemd/systemd systemd.unit=basic.target systemd.mask=systemd-firstboot.service
    local i state=''
    for ((i = 0; i < 50; i++)); do
        state=$(podman exec c systemctl is-system-running 2>/dev/null) || :
        [[ $state != running && $state != degraded ]] || break
        sleep 0.5
    done
    [[ $state == running ]] || { podman exec c systemctl --failed --no-legend --plain; fail "systemd in it is $state"; }
    # A service of its has a cgroup below the container's.
    ok podman exec c systemd-run --quiet --wait --pipe cat /proc/self/cgroup
    says .service
    ok podman stop -t 20 c
    ok podman inspect -f '{{.State.ExitCode}}' c
    prints 0
}
pods_share_namespaces() {
    ok podman pod create --name p --share net,ipc,uts --hostname pod
    ok podman run -d --pod p --name c busybox sh -c 'echo x >/dev/shm/x; sleep 100'
    ok podman run --rm --pod p busybox sh -c 'hostname; until cat /dev/shm/x; do sleep 0.1; done'
    says pod x
    ok podman pod ps --format '{{.Name}} {{.Status}}'
    says "p Running"
    if [[ $CGROUPS == enabled ]]; then
        ok podman pod pause p
        ok podman pod unpause p
        ok podman pod top p
    fi
    ok podman pod stop -t 0 p
    ok podman pod start p
    ok podman pod kill p
    ok podman pod rm -f -t 0 p
    ok podman pod create --name q --share pid,net
    ok podman run --rm --pod q busybox ps
    ok podman pod rm -f -t 0 q
}
a_pod_has_limits() {
    limits
    ok podman pod create --name p --memory 64m --cpus 0.5
    ok podman run -d --pod p --name c busybox sleep 100
    # Above the container's, which crun and systemd's scopes have at different depths.
    local pod
    pod=$(sed -n 's/^0:://; s/\/libpod-.*//p' "/proc/$(pidof c)/cgroup")
    ok cat "/sys/fs/cgroup$pod/memory.max" "/sys/fs/cgroup$pod/cpu.max"
    prints $'67108864\n50000 100000'
    ok podman pod rm -f -t 0 p
}
health_is_checked() {
    up --health-cmd 'test -e /tmp/well' --health-interval disable --health-retries 1 busybox sleep 100
    ends 1 podman healthcheck run c
    ok podman exec c touch /tmp/well
    ok podman healthcheck run c
    ok podman inspect -f '{{.State.Health.Status}}' c
    prints healthy
    [[ $MANAGER == systemd ]] || return 0
    ok podman run -d --name d --health-cmd 'test -e /tmp/well' --health-interval 1s --health-retries 1 busybox sh -c 'sleep 3; touch /tmp/well; sleep 100'
    soon is unhealthy podman inspect -f '{{.State.Health.Status}}' d
    soon is healthy podman inspect -f '{{.State.Health.Status}}' d
}
images_are_built() {
    local dir=$HOME/build
    mkdir -p "$dir"
    cat >"$dir/Containerfile" <<'END'
FROM localhost/busybox
RUN echo built >/built && id -u >/who
WORKDIR /home/user
USER user
RUN id -u >/tmp/who
CMD ["cat", "/built", "/who", "/tmp/who"]
END
    ok podman build --network none --isolation oci --runtime "$RUNTIME" -t built "$dir"
    ok podman run --rm built
    prints $'built\n0\n1000'
    printf 'FROM localhost/busybox\nRUN exit 9\n' >"$dir/Containerfile"
    ends 9 podman build --network none --isolation oci --runtime "$RUNTIME" "$dir"
    ok podman rmi built
}
pods_are_made_from_kubernetes_files() {
    cat >"$HOME/pod.yaml" <<'END'
apiVersion: v1
kind: Pod
metadata: {name: k}
spec:
  hostname: kube
  containers:
  - name: one
    image: localhost/busybox:latest
    imagePullPolicy: Never
    command: [sh, -c, "hostname >/shared/name; sleep 100"]
    volumeMounts: [{name: shared, mountPath: /shared}]
    securityContext: {runAsUser: 1000, capabilities: {drop: [ALL]}}
  - name: two
    image: localhost/busybox:latest
    imagePullPolicy: Never
    command: [sleep, "100"]
    volumeMounts: [{name: shared, mountPath: /shared, readOnly: true}]
  volumes: [{name: shared, emptyDir: {}}]
END
    [[ $CGROUPS == enabled ]] || sed -i '/^spec:/a\  restartPolicy: Never' "$HOME/pod.yaml"
    ok podman kube play --network none "$HOME/pod.yaml"
    ok podman pod ps --format '{{.Name}} {{.Status}}'
    says "k Running"
    ok podman ps --format '{{.Names}}'
    says k-one k-two
    ok podman kube down "$HOME/pod.yaml"
}
cgroups_are_placed_as_asked() {
    limits
    ok podman run --rm --cgroups no-conmon busybox true
    root
    if [[ $MANAGER == systemd ]]; then
        ok podman run -d --name c --cgroup-parent machine-test.slice busybox sleep 100
        ok cat "/proc/$(pidof c)/cgroup"
        says machine-test.slice/
    else
        ok podman run -d --name c --cgroup-parent /parent busybox sleep 100
        ok cat "/proc/$(pidof c)/cgroup"
        says /parent/libpod-
    fi
    ok podman run --rm --cgroups disabled busybox true
    [[ $MANAGER != systemd ]] || ok systemd-run --quiet --wait --pipe --collect -p Delegate=yes -E CONTAINERS_CONF_OVERRIDE="$CONTAINERS_CONF_OVERRIDE" \
        podman run --rm --cgroups split --name s busybox cat /proc/self/cgroup
}
descriptors_are_preserved() {
    exec 3<<<hello
    out=$(podman run --rm --preserve-fds 1 busybox cat /proc/self/fd/3 2>&1 3<&3) || fail "$out"
    prints hello
}
files_ids_and_annotations_are_written() {
    local dir=$HOME/ids
    rm -rf "$dir" && mkdir "$dir"
    up --cidfile "$dir/cid" --pidfile "$dir/pid" --annotation a=b --label l=m busybox sleep 100
    [[ $(<"$dir/pid") == "$(pidof c)" ]] || fail "pid file"
    ok podman cp c:/copied/file "$dir/copy"
    ok podman cp "$dir/copy" c:/tmp/copy
    ok podman diff c
    ok podman port c
    ok podman rename c d
    ok podman commit -q d committed
    ok podman rm -f -t 0 d
    ok podman run --rm committed cat /tmp/copy
    ok podman rmi committed
}
hooks_and_plain_directories_are_taken() {
    local dir=$HOME/rootfs hooks=$HOME/hooks
    mkdir -p "$hooks" "$dir"
    root
    podman export "$(podman create busybox true)" | tar -C "$dir" -xf -
    ok podman rm -af
    printf '{"version":"1.0.0","hook":{"path":"/bin/sh","args":["sh","-c","cat >%s/seen"]},"when":{"always":true},"stages":["createRuntime","poststop"]}' "$dir" >"$hooks/h.json"
    ok podman --hooks-dir "$hooks" run --rm --rootfs "$dir" true
    ok cat "$dir/seen"
    says '"status"' '"id"'
}
a_container_outlives_its_conmon_and_is_removed() {
    up busybox sleep 100
    local pid conmon
    pid=$(pidof c)
    conmon=$(podman inspect -f '{{.State.ConmonPid}}' c)
    kill -KILL "$conmon"
    sleep 0.5
    ok podman rm -f -t 0 c
    gone "$pid" || fail "it lives on"
}
the_runtime_removes_what_has_no_conmon() {
    root
    up busybox sleep 100
    local pid id
    pid=$(pidof c)
    id=$(podman inspect -f '{{.Id}}' c)
    kill -KILL "$(podman inspect -f '{{.State.ConmonPid}}' c)"
    ok "$RUNTIME" delete -f "$id"
    soon gone "$pid"
    ok "$RUNTIME" delete -f "$id"
    ok podman rm -f -t 0 c
}
networks_connect_containers() {
    if ((UID)); then
        # What passt makes needs no more than a user may.
        ok podman run --rm --network pasta busybox ip link
        says LOWER_UP
        return
    fi
    up --network bridge busybox sleep 100
    local address
    address=$(podman inspect -f '{{.NetworkSettings.Networks.podman.IPAddress}}' c)
    ok podman exec c ip address show eth0
    says "$address"
    ok podman run --rm --network bridge --cap-add net_raw busybox ping -c 1 -W 5 "$address"
}
criu_works() {
    root
    criu check "$@" >/dev/null 2>&1 || skip "criu can't here: $(criu check "$@" 2>&1 | head -n 1)"
}
counts() { up busybox sh -c 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done'; }
it_is_saved_and_goes_on() {
    criu_works
    counts
    local archive=$HOME/saved.tar
    ok podman container checkpoint c
    ok podman inspect -f '{{.State.Status}}' c
    prints exited
    ok podman container restore c
    ok podman exec c true
    ok podman container checkpoint --leave-running c
    ok podman exec c true
    ok podman container checkpoint --export "$archive" c
    ok podman rm -f -t 0 c
    ok podman container restore --import "$archive"
    ok podman exec c true
    ok podman container restore --import "$archive" --name d
    ok podman exec d true
    rm "$archive"
    ok podman stop -t 0 c d
}
its_memory_is_saved_beforehand() {
    criu_works --feature mem_dirty_track
    counts
    ok podman container checkpoint --pre-checkpoint c
    ok podman container checkpoint --with-previous c
    ok podman container restore c
    ok podman exec c true
}
the_runtime_is_named_with_its_version() {
    ok podman info -f '{{.Host.OCIRuntime.Name}} {{.Host.OCIRuntime.Version}}'
    says "${RUNTIME##*/} " version spec
}
many_start_at_once() {
    local i pids=()
    for ((i = 0; i < 6; i++)); do
        podman run --rm busybox sh -c "exit $i" &
        pids+=($!)
    done
    for ((i = 0; i < 6; i++)); do
        code=0
        wait "${pids[i]}" || code=$?
        ((code == i)) || fail "number $i ended with $code"
    done
}
time_runs_out_for_it() {
    ends 255 podman run --rm --timeout 1 busybox sleep 100
}
