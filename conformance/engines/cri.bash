# containerd's CRI plugin with the file of bundles/engines, asked as kubelet asks it (see `cri`). MODE says which containerd, MANAGER
# who makes cgroups.
# shellcheck shell=bash

# Slices and the directories above containers are kubelet's.
cgroups='/kubepods.*/(cri-containerd-)?[0-9a-f]{64}'
things() {
    ctr -n k8s.io containers ls -q
    ls -d /run/containerd/runc/k8s.io/*
    pgrep -a containerd-shim
    ip -o link show type veth
}
clean() {
    local id
    # A pod takes its containers with it.
    for id in $(cri ListPodSandbox | sed -n 's/^  id: //p'); do
        cri StopPodSandbox "pod_sandbox_id: $id"
        cri RemovePodSandbox "pod_sandbox_id: $id"
    done
}
cri() { "$here/cri" "$@"; }
old() { [[ $MODE == cri-1 ]]; }

# pod [TEXT]: starts one, whose id is $pod and whose configuration $sandbox, with the host's network unless TEXT says something else.
pod() {
    local number=${pods:=0} parent=/kubepods/pod$((++pods))
    [[ $MANAGER != systemd ]] || parent=/kubepods.slice/kubepods-pod$pods.slice
    sandbox="metadata { name: 'p$number' uid: 'u$number' namespace: 'default' } log_directory: '/run/engines/logs'
        linux { cgroup_parent: '$parent' security_context { namespace_options { network: NODE } } } ${1-}"
    ok cri RunPodSandbox "runtime_handler: '${handler-${RUNTIME##*/}}' config { $sandbox }" .pod_sandbox_id
    pod=$out
}
# list WORD...: as the text format has it.
list() { printf "'%s'," "$@" | sed 's/^/[/; s/,$/]/'; }
# made TEXT COMMAND...: a container in $pod, not yet started, whose id is $box.
made() {
    ok cri CreateContainer "pod_sandbox_id: '$pod' sandbox_config { $sandbox }
        config { metadata { name: 'c$((++boxes))' } image { image: 'localhost/busybox:latest' } command: $(list "${@:2}")
            log_path: 'c$boxes.log' $1 }" .container_id
    box=$out
}
# up TEXT COMMAND...: the same, started.
up() {
    made "$@"
    ok cri StartContainer "container_id: '$box'"
}
# it COMMAND...: in $box.
it() { cri ExecSync "container_id: '$box' timeout: 30 cmd: $(list "$@")"; }
pidof() { ctr -n k8s.io tasks ls | awk -v id="$box" '$1 == id { print $2 }'; }
# status FIELD: of $box.
status() { cri ContainerStatus "container_id: '$box'" ".status.$1"; }
removed() {
    ok cri StopPodSandbox "pod_sandbox_id: '$pod'"
    ok cri RemovePodSandbox "pod_sandbox_id: '$pod'"
}
boxes=0

its_handler_is_known() {
    ends 125 cri RunPodSandbox "runtime_handler: 'no-such' config { metadata { name: 'p' uid: 'u' namespace: 'default' } }"
    says 'no runtime for "no-such" is configured'
    pod
    ok cri PodSandboxStatus "pod_sandbox_id: '$pod'" .status.runtime_handler
    prints "${RUNTIME##*/}"
    # Its own state, where containerd lets it be.
    ok "$RUNTIME" --root /run/containerd/runc/k8s.io state "$pod"
    says '"running"'
    removed
    old && return
    # What it can do, as its `features` say.
    ok cri Status
    out=$(echo "$out" | grep -A 4 "name: \"${RUNTIME##*/}\"")
    says "recursive_read_only_mounts: true" "user_namespaces: true"
}
pods_that_name_no_handler_are_runcs() {
    local handler=''
    pod
    ok runc --root /run/containerd/runc/k8s.io state "$pod"
    up "" sleep 100
    ok it echo hello
    prints hello
    removed
    old && return
    # kubelet asks who makes cgroups.
    ok cri RuntimeConfig .linux.cgroup_driver
    prints "${MANAGER^^}"
}
a_pod_and_its_container_live_and_end() {
    pod
    ok cri PodSandboxStatus "pod_sandbox_id: '$pod'" .status.state
    prints SANDBOX_READY
    made "" sh -c 'trap "echo bye; exit 5" TERM; echo up; while :; do sleep 0.1; done'
    ok status state
    prints CONTAINER_CREATED
    ok cri StartContainer "container_id: '$box'"
    ok status state
    prints CONTAINER_RUNNING
    soon grep "stdout F up" /run/engines/logs/c1.log
    ok cri StopContainer "container_id: '$box' timeout: 10"
    ok status exit_code
    prints 5
    ok status reason
    prints Error
    ok grep "stdout F bye" /run/engines/logs/c1.log
    ends 125 it true
    ok cri RemoveContainer "container_id: '$box'"
    ok cri RemoveContainer "container_id: '$box'"
    # Once more, as kubelet does after a failure.
    up "" true
    soon is Completed status reason
    ok status exit_code
    prints 0
    ok cri StopPodSandbox "pod_sandbox_id: '$pod'"
    ok cri StopPodSandbox "pod_sandbox_id: '$pod'"
    ok cri PodSandboxStatus "pod_sandbox_id: '$pod'" .status.state
    prints SANDBOX_NOTREADY
    removed
}
it_is_killed_when_it_does_not_stop() {
    pod
    up "" sh -c 'trap "" TERM; while :; do sleep 0.1; done'
    ok cri StopContainer "container_id: '$box' timeout: 1"
    ok status exit_code
    prints 137
    up "" sleep 100
    removed
}
exec_runs_a_command_in_it() {
    pod
    up "envs { key: 'A' value: '1' } working_dir: '/tmp'" sleep 100
    ok it sh -c 'echo out; echo err >&2; pwd; echo $A'
    says out err /tmp 1
    ends 7 it sh -c 'exit 7'
    ends 125 it no-such
    says no-such
    ends 125 cri ExecSync "container_id: '$box' timeout: 1 cmd: ['sleep', '100']"
    says "deadline"
    soon sh -c "! pgrep -fx 'sleep 100' | grep -vx $(pidof)"
    out=$(it head -c 3000000 /dev/zero | wc -c)
    prints 3000000
    removed
}
a_program_that_is_missing_is_told() {
    pod
    made "" /no/such
    ends 125 cri StartContainer "container_id: '$box'"
    says /no/such "no such file or directory"
    ok status state
    prints CONTAINER_EXITED
    ok status reason
    prints StartError
    made "" /etc
    ends 125 cri StartContainer "container_id: '$box'"
    says /etc
    ok cri RemoveContainer "container_id: '$box'"
    removed
}
limits_are_read_back_and_updated() {
    pod
    up "linux { resources { memory_limit_in_bytes: 67108864 cpu_period: 100000 cpu_quota: 50000 cpu_shares: 512
        oom_score_adj: 987 unified { key: 'pids.max' value: '77' } } }" sleep 100
    local pid
    pid=$(pidof)
    ok cgroup_of "$pid" memory.max && prints 67108864
    ok cgroup_of "$pid" cpu.max && prints "50000 100000"
    ok cgroup_of "$pid" pids.max && prints 77
    ok cat "/proc/$pid/oom_score_adj" && prints 987
    ok cgroup_of "$pid" cpu.weight
    local weight=$out
    ok cri UpdateContainerResources "container_id: '$box' linux { memory_limit_in_bytes: 134217728 cpu_period: 100000 cpu_quota: 70000 cpu_shares: 2048 }"
    ok cgroup_of "$pid" memory.max && prints 134217728
    ok cgroup_of "$pid" cpu.max && prints "70000 100000"
    ok cgroup_of "$pid" cpu.weight
    ((out > weight)) || fail "cpu.weight was $weight and is $out"
    ok status resources.linux.memory_limit_in_bytes
    prints 134217728
    removed
}
cgroups_are_where_kubelet_wants_them() {
    pod
    up "" sleep 100
    ok cat "/proc/$(pidof)/cgroup"
    if [[ $MANAGER == systemd ]]; then
        says "/kubepods.slice/kubepods-pod$pods.slice/cri-containerd-$box.scope"
        ok systemctl show -P ActiveState "cri-containerd-$box.scope"
        prints active
    else
        says "/kubepods/pod$pods/$box"
    fi
    ok it cat /proc/self/cgroup
    prints 0::/
    removed
}
stats_are_told() {
    pod
    up "linux { resources { memory_limit_in_bytes: 67108864 } }" sh -c 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); done; sleep 100'
    cpu_is_told() { (($(cri ContainerStats "container_id: '$box'" .stats.cpu.usage_core_nano_seconds.value) > 1000000)); }
    soon cpu_is_told
    ok cri ContainerStats "container_id: '$box'" .stats.memory.working_set_bytes.value
    ((out > 4096)) || fail "$out bytes"
    ok cri PodSandboxStats "pod_sandbox_id: '$pod'" .stats.linux.memory.usage_bytes.value
    ((out > 4096)) || fail "$out bytes"
    ok cri ListContainerStats
    says "$box"
    removed
}
security_contexts_hold() {
    pod
    up "linux { security_context { run_as_user { value: 1000 } run_as_group { value: 1000 } supplemental_groups: 2000
        readonly_rootfs: true no_new_privs: true capabilities { drop_capabilities: 'ALL' }
        seccomp { profile_type: RuntimeDefault } masked_paths: ['/etc/shadow', '/copied'] readonly_paths: '/proc/sys' } }" sleep 100
    ok it id
    says "uid=1000(user) gid=1000(user)" "2000(extra)"
    ok it grep -E 'Cap(Eff|Bnd|Prm)|NoNewPrivs|Seccomp:' /proc/self/status
    says $'CapPrm:\t0000000000000000' $'CapEff:\t0000000000000000' $'CapBnd:\t0000000000000000' $'NoNewPrivs:\t1' $'Seccomp:\t2'
    ends 1 it touch /tmp/x
    says "ead-only file system"
    ok it sh -c 'cat /etc/shadow; ls /copied'
    prints ""
    ends 1 it sh -c 'echo 1 >/proc/sys/kernel/domainname'
    # The profile that is the runtime's default.
    ends 1 it unshare -U true
    up "linux { security_context { seccomp { profile_type: Unconfined }
        capabilities { drop_capabilities: 'ALL' add_capabilities: 'NET_ADMIN' add_capabilities: 'SYS_TIME' } } }" sleep 100
    ok it grep -E 'CapEff|Seccomp:' /proc/self/status
    says $'CapEff:\t0000000002001000' $'Seccomp:\t0'
    ok it id -u
    prints 0
    ok it touch /tmp/x
    removed
}
a_seccomp_profile_of_the_node_is_loaded() {
    pod
    echo '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO","errnoRet":13}]}' >/run/engines/profile.json
    up "linux { security_context { seccomp { profile_type: Localhost localhost_ref: '/run/engines/profile.json' } } }" sleep 100
    ends 1 it mkdir /tmp/x
    says "ermission denied"
    ok it touch /tmp/x
    removed
}
privileged_has_all() {
    pod "linux { security_context { privileged: true } }"
    up "linux { security_context { privileged: true } }" sleep 100
    ok it mount -t tmpfs tmpfs /tmp
    ok it sh -c 'ls /dev | wc -l'
    ((out > 20)) || fail "$out devices"
    ok it grep -E 'CapEff' /proc/self/status
    says "$(grep CapBnd /proc/self/status | cut -f2)"
    removed
}
processes_are_shared_as_asked() {
    local all="linux { security_context { namespace_options { network: NODE pid: %s } } }"
    # shellcheck disable=SC2059
    pod "$(printf "$all" POD)"
    up "linux { security_context { namespace_options { pid: POD } } }" sh -c 'exec sleep 101'
    local first=$box
    up "linux { security_context { namespace_options { pid: POD } } }" sleep 102
    ok it ps
    says "sleep 101" "sleep 102"
    # As kubectl debug --target does.
    up "linux { security_context { namespace_options { pid: TARGET target_id: '$first' } } }" sleep 103
    ok it ps
    says "sleep 101" "sleep 103"
    up "linux { security_context { namespace_options { pid: CONTAINER } } }" sleep 104
    ok it ps
    [[ $out != *"sleep 101"* ]] || fail "its own processes are not its own: $out"
    ok it readlink /proc/self
    removed
    # shellcheck disable=SC2059
    pod "$(printf "$all" NODE)"
    up "linux { security_context { namespace_options { pid: NODE } } }" sleep 105
    ok it ps
    says containerd
    ok cri StopContainer "container_id: '$box'"
    ok status exit_code
    prints 137
    removed
}
a_container_of_a_shared_namespace_ends_whole() {
    pod "linux { security_context { namespace_options { pid: POD } } }"
    up "linux { security_context { namespace_options { pid: POD } } }" sh -c 'sleep 201 & sleep 202 & wait'
    soon pgrep -fx 'sleep 202'
    ok cri StopContainer "container_id: '$box' timeout: 0"
    soon sh -c '! pgrep -fx "sleep 20[12]"'
    removed
}
mounts_and_devices_are_as_asked() {
    local dir=/run/engines/volume
    mkdir -p "$dir"
    mount -t tmpfs tmpfs "$dir" && mount --make-shared "$dir"
    mkdir "$dir"/{sub,below,later} && mount -t tmpfs tmpfs "$dir/below"
    echo there >"$dir/file"
    pod
    up "mounts { host_path: '$dir' container_path: '/a' readonly: true } mounts { host_path: '$dir' container_path: '/b' propagation: PROPAGATION_HOST_TO_CONTAINER }
        mounts { host_path: '$dir/file' container_path: '/f' } devices { host_path: '/dev/null' container_path: '/dev/other' permissions: 'rw' }" sleep 100
    ok it cat /a/file /b/file /f
    prints $'there\nthere\nthere'
    ends 1 it touch /a/x
    ok it touch /b/x /a/below/x
    ok it sh -c 'echo >/dev/other'
    mount -t tmpfs later "$dir/later"
    ok it grep ' /b/later ' /proc/mounts
    ends 1 it grep ' /a/later ' /proc/mounts
    removed
    if ! old; then
        pod
        up "mounts { host_path: '$dir' container_path: '/a' readonly: true recursive_read_only: true propagation: PROPAGATION_PRIVATE }" sleep 100
        ends 1 it touch /a/below/y
        says "ead-only file system"
        removed
    fi
    pod "linux { security_context { privileged: true } }"
    up "linux { security_context { privileged: true } } mounts { host_path: '$dir' container_path: '/a' propagation: PROPAGATION_BIDIRECTIONAL }" sleep 100
    ok it mount -t tmpfs from-within /a/sub
    ok grep "^from-within $dir/sub " /proc/mounts
    removed
    umount "$dir"/{sub,below,later} "$dir"
}
networks_connect_pods() {
    pod "hostname: 'web' linux { security_context { namespace_options { network: POD } } sysctls { key: 'net.ipv4.ip_unprivileged_port_start' value: '33' }
        sysctls { key: 'kernel.shm_rmid_forced' value: '1' } } dns_config { servers: '10.1.2.3' searches: 'example.org' }"
    local first=$pod address
    ok cri PodSandboxStatus "pod_sandbox_id: '$pod'" .status.network.ip
    address=$out
    up "" sleep 100
    ok it sh -c 'hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced /etc/resolv.conf; ip address show eth0'
    says web $'33\n1\n' "nameserver 10.1.2.3" "$address"
    pod "linux { security_context { namespace_options { network: POD } } }"
    up "" sleep 100
    ok it ping -c 1 -W 5 "$address"
    removed
    pod=$first
    removed
}
user_namespaces_map_ids() {
    ! old || skip "containerd 1.6 has none"
    local userns="userns_options { mode: POD uids { host_id: 100000 container_id: 0 length: 65536 } gids { host_id: 100000 container_id: 0 length: 65536 } }"
    userns="linux { security_context { namespace_options { network: POD $userns } } }"
    pod "$userns"
    echo secret >/run/engines/secret && chown 0:0 /run/engines/secret && chmod 600 /run/engines/secret
    up "$userns mounts { host_path: '/run/engines/secret' container_path: '/secret' uidMappings { host_id: 100000 container_id: 0 length: 65536 }
        gidMappings { host_id: 100000 container_id: 0 length: 65536 } }" sleep 100
    ok it sh -c 'id -u; cat /secret; stat -c %u /bin/busybox /proc/1; head -n 1 /proc/self/uid_map | tr -s " "'
    prints $'0\nsecret\n0\n0\n 0 100000 65536'
    ok stat -c %u "/proc/$(pidof)"
    prints 100000
    removed
}
a_terminal_is_made() {
    pod
    up "tty: true" sh -c 'tty; sleep 100'
    soon grep /dev/pts/0 /run/engines/logs/c1.log
    ok it sh -c 'echo hello'
    prints hello
    removed
}
what_runs_out_of_memory_is_told() {
    pod
    up "linux { resources { memory_limit_in_bytes: 16777216 memory_swap_limit_in_bytes: 16777216 } }" \
        sh -c 'sleep 1; (a=x; while :; do a=$a$a$a$a; done); sleep 1; exit 137'
    soon is CONTAINER_EXITED status state
    ok status reason
    prints OOMKilled
    ok status exit_code
    prints 137
    removed
}
it_outlives_containerd() {
    pod
    up "" sleep 100
    ok systemctl kill --kill-whom main -s KILL containerd
    ok systemctl restart containerd
    soon cri Version
    ok status state
    prints CONTAINER_RUNNING
    ok it echo hello
    prints hello
    ok cri StopContainer "container_id: '$box' timeout: 0"
    ok status exit_code
    prints 137
    removed
}
a_killed_shim_leaves_what_can_be_removed() {
    pod
    up "" sleep 100
    local pid
    pid=$(pidof)
    # One for the pod and all of its containers.
    pkill -KILL -f "containerd-shim.* -id $pod"
    soon gone "$pid"
    soon is CONTAINER_EXITED status state
    removed
    # containerd has it delete the pod's, and forgets this one's.
    ok "$RUNTIME" --root /run/containerd/runc/k8s.io delete -f "$box"
}
many_live_at_once() {
    local pids=() pid
    pod
    for i in 1 2 3 4; do
        (boxes=$i; up "" sleep 100; ok it echo hello) &
        pids+=($!)
    done
    for pid in "${pids[@]}"; do wait "$pid" || fail "one of them did not"; done
    ok cri ListContainers "filter { state { state: CONTAINER_RUNNING } }"
    out=$(grep -c '^containers {' <<<"$out")
    prints 4
    removed
}
