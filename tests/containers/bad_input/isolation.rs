//! Namespaces, id maps, and where the cgroup is.

use serde_json::{Value, json};

use super::{bad, refused};
use crate::support::bundle::set_namespace;
use crate::support::case;

#[test]
fn a_namespace_type_named_twice_is_refused() {
    let case = case!();
    bad(&case, &["linux.namespaces[6] pid"], |c| {
        c["linux"]["namespaces"]
            .as_array_mut()
            .unwrap()
            .push(json!({ "type": "pid", "path": "/proc/self/ns/pid" }));
    });
}

#[test]
fn a_namespace_path_that_is_not_one_of_its_type_is_named() {
    let case = case!();
    let join = |path: &str| Some(json!({ "type": "network", "path": path }));
    bad(&case, &["linux.namespaces[5]", "/proc/self/ns/uts", "another type"], |c| {
        set_namespace(c, "network", join("/proc/self/ns/uts"))
    });
    bad(&case, &["linux.namespaces[5]", "/no/such/ns", "(ENOENT)"], |c| {
        set_namespace(c, "network", join("/no/such/ns"))
    });
    bad(&case, &["linux.namespaces[5]", "/etc/passwd", "not a namespace"], |c| {
        set_namespace(c, "network", join("/etc/passwd"))
    });
    bad(&case, &["linux.namespaces[5]", "/etc"], |c| set_namespace(c, "network", join("/etc")));
    bad(&case, &["linux.namespaces[5]", "not absolute"], |c| set_namespace(c, "network", join("ns/net")));
    let fifo = case.path("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    bad(&case, &["linux.namespaces[5]", "fifo"], |c| {
        set_namespace(c, "network", join(fifo.to_str().unwrap()))
    });
}

#[test]
fn ids_that_the_user_namespace_does_not_map_are_named() {
    let case = case!();
    let in_userns = |user: Value| {
        move |c: &mut Value| {
            crate::support::bundle::add_user_namespace(c, 100_000);
            c["process"]["user"] = user;
        }
    };
    let b = case.script("true", in_userns(json!({ "uid": 70_000, "gid": 0 })));
    b.chown(100_000);
    refused(&case, &b, &["user.uid", "70000"]);
    let b = case.script("true", in_userns(json!({ "uid": 0, "gid": 70_000 })));
    b.chown(100_000);
    refused(&case, &b, &["user.gid", "70000"]);
    let b = case.script("true", in_userns(json!({ "uid": 0, "gid": 0, "additionalGids": [70_000] })));
    b.chown(100_000);
    refused(&case, &b, &["additionalGids"]);
}

#[test]
fn bad_id_maps_are_named() {
    let case = case!();
    let map = |entries: Value| {
        move |c: &mut Value| {
            set_namespace(c, "user", Some(json!({ "type": "user" })));
            c["linux"]["uidMappings"] = entries;
            c["linux"]["gidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
        }
    };
    bad(
        &case,
        &["linux.uidMappings[0]", "size 0"],
        map(json!([{ "containerID": 0, "hostID": 5, "size": 0 }])),
    );
    let overlap =
        json!([{ "containerID": 0, "hostID": 5, "size": 9 }, { "containerID": 8, "hostID": 50, "size": 2 }]);
    bad(&case, &["linux.uidMappings", "overlap"], map(overlap));
    bad(
        &case,
        &["linux.uidMappings[0]"],
        map(json!([{ "containerID": 4_294_967_295u32, "hostID": 0, "size": 2 }])),
    );
    bad(&case, &["user namespace", "uidMappings"], |c| {
        set_namespace(c, "user", Some(json!({ "type": "user" })))
    });
    bad(&case, &["uidMappings", "user namespace"], |c| {
        c["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": 0, "size": 1 }]);
    });
}

#[test]
fn what_would_change_the_host_is_refused() {
    let case = case!();
    bad(&case, &["hostname", "uts"], |c| set_namespace(c, "uts", None));
    bad(&case, &["domainname", "uts"], |c| {
        set_namespace(c, "uts", None);
        c["hostname"] = json!("");
        c["domainname"] = json!("d");
    });
    bad(&case, &["linux.sysctl", "net.ipv4.ip_forward"], |c| {
        set_namespace(c, "network", None);
        c["linux"]["sysctl"] = json!({ "net.ipv4.ip_forward": "1" });
    });
    bad(&case, &["mount namespace"], |c| {
        set_namespace(c, "mount", None);
        c["linux"]["maskedPaths"] = json!(["/proc/kcore"]);
    });
}

#[test]
fn a_cgroups_path_that_leads_elsewhere_is_refused() {
    // GHSA-5g49-rx9x-qfc6 and T-G1.
    let case = case!();
    for path in ["/", "../x", "/../..", "/a/../../b", "a/.."] {
        bad(&case, &["linux.cgroupsPath"], |c| c["linux"]["cgroupsPath"] = json!(path));
    }
    let long = format!("/{}/{}", case.unique, "x".repeat(5000));
    bad(&case, &["cgroup", "(ENAMETOOLONG)"], |c| c["linux"]["cgroupsPath"] = json!(long));
    bad(&case, &["linux.resources", "cgroup.procs"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.procs": "1" } });
    });
    bad(&case, &["linux.resources.unified: cgroup.freeze is the runtime's own business"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.freeze": "1" } });
    });
    bad(&case, &["linux.resources.unified: openat2(\"cgroup.novel\")", "ENOENT"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "cgroup.novel": "1" } });
    });
    bad(&case, &["linux.resources", "unified"], |c| {
        c["linux"]["resources"] = json!({ "unified": { "../memory.max": "1" } });
    });
}
