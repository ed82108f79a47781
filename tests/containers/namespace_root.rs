//! Containers of one who is root of a user namespace only, as podman without root is: user_namespaces(7).

use serde_json::json;

use crate::support::bundle::add_mount;
use crate::support::user::{User, user};
use crate::support::{case, cgroup_root, is_there, need};

#[test]
fn root_of_a_user_namespace_runs_a_container_without_another_one() {
    let case = case!();
    let user = user!(case);
    let script = "id -u; tr -s ' ' </proc/self/uid_map; echo x >/dev/null && head -c 1 /dev/zero | od -An -c; \
                  stat -c %t,%T /dev/full; touch /tmp/made && stat -c %u /tmp/made; cat /proc/self/cgroup | grep ^0:";
    let b = user.namespace_roots_bundle(script, |_| {});
    let done = user.as_namespace_root(None, &b, "exec \"$0\" run -b \"$1\" \"$2\"").finish();
    done.prints(&format!("0\n 0 {} 1\n  \\0\n1,7\n0\n0::/\n", user.uid()));
    user.has_no_container();
}

#[test]
fn it_goes_through_its_whole_life_and_its_state_is_the_users() {
    let case = case!();
    let user = user!(case);
    let b = user.namespace_roots_bundle("exec sleep 100", |_| {});
    let script = "\"$0\" create -b \"$1\" \"$2\"; test -d \"$XDG_RUNTIME_DIR/minidocker-oci/$2\"
        \"$0\" start \"$2\"; \"$0\" exec \"$2\" sh -c 'id -u; echo $$ >/dev/null; cat /proc/1/cmdline | tr \"\\0\" \" \"'
        \"$0\" list -q; \"$0\" kill \"$2\" KILL
        for i in $(seq 100); do \"$0\" delete \"$2\" 2>/dev/null && exit 0; sleep 0.1; done; exit 1";
    user.as_namespace_root(None, &b, script).finish().prints(&format!("0\nsleep 100 {}\n", b.id));
    user.has_no_container();
    assert!(!is_there(&case.state));
}

#[test]
fn root_of_a_system_in_a_container_keeps_its_state_where_root_does() {
    let case = case!();
    let user = user!(case);
    let b = user.namespace_roots_bundle("true", |_| {});
    // What is the machine's is not his, be it there or not.
    let script = "USER=root exec \"$0\" run -b \"$1\" \"$2\"";
    user.as_namespace_root(None, &b, script).finish().fails(&["\"/run/minidocker-oci", "Permission denied"]);
}

#[test]
fn a_cgroup_is_roots_of_a_user_namespace_where_it_is_delegated() {
    let case = case!();
    need!(cgroup_root().is_some(), "no cgroup2 tree");
    let user = user!(case);
    let own = user.delegated_cgroup();
    let b = user.namespace_roots_bundle("exec sleep 100", |_| {});
    let script = "\"$0\" run -d -b \"$1\" \"$2\" </dev/null >/dev/null 2>&1
        grep ^0: /proc/$(\"$0\" state \"$2\" | sed -n 's/.*\"pid\": \\([0-9]*\\).*/\\1/p')/cgroup; \"$0\" delete -f \"$2\"";
    let shown = user.as_namespace_root(Some(&own), &b, script).finish().ok().stdout();
    let above = User::shown(own.parent().unwrap());
    assert!(shown.starts_with(&above) && shown.contains(&b.id), "{shown:?} is not in {above:?}");
    // Nothing but the session is left in what is delegated.
    for dir in [own.as_path(), own.parent().unwrap()] {
        std::fs::remove_dir(dir).unwrap();
    }
}

#[test]
fn a_limit_without_a_delegated_cgroup_is_refused_with_the_remedy() {
    let case = case!();
    need!(cgroup_root().is_some(), "no cgroup2 tree");
    let user = user!(case);
    let b = user.namespace_roots_bundle("true", |config| {
        config["linux"]["resources"] = json!({ "memory": { "limit": 67_108_864 } });
    });
    let done = user.as_namespace_root(None, &b, "exec \"$0\" run -b \"$1\" \"$2\"").finish();
    done.fails(&[
        "linux.resources.memory.limit: memory.max can't be written: no cgroup is delegated to this user",
    ]);
    user.has_no_container();
}

#[test]
fn what_is_hidden_in_his_shared_binds_is_hidden_in_the_container_alone_or_refused() {
    let case = case!();
    let volume = case.subdir("volume");
    let below = case.subdir("volume/below");
    case.file("volume/file", "text\n", 0o644);
    let change = |config: &mut serde_json::Value| {
        add_mount(config, "/v", "bind", &volume, &["rbind", "rshared"]);
        config["linux"]["maskedPaths"] = json!(["/v/file"]);
    };
    let script =
        "mount --make-rshared /; \"$0\" run -b \"$1\" \"$2\"; ! grep '/volume/file ' /proc/self/mountinfo";
    let user = user!(case);
    let b = user.namespace_roots_bundle("wc -c </v/file", change);
    user.as_namespace_root(None, &b, script).finish().prints("0\n");
    // What was mounted outside of his user namespace stays where it is, and so what it is mounted in.
    let user = user.after(&format!("mount -t tmpfs below {}", below.display()));
    let done = user.as_namespace_root(None, &b, script).finish();
    done.fails(&["linux.maskedPaths[0] /v/file", "/v is shared with the host", "user namespace", "rslave"]);
}
