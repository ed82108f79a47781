//! Where the program begins.

use serde_json::json;

use super::LEAK;
use crate::support::{case, host_command, link};

#[test]
fn the_program_begins_in_its_directory() {
    let case = case!();
    for cwd in ["/", "/tmp", "/bin/../etc/"] {
        let expected = if cwd == "/bin/../etc/" { "/etc" } else { cwd };
        case.sh("/bin/pwd", |config| config["process"]["cwd"] = json!(cwd)).prints(&format!("{expected}\n"));
    }
    let b = case.script("/bin/pwd", |config| config["process"]["cwd"] = json!("/link"));
    link("/tmp", &b.rootfs("link"));
    case.run(&b).prints("/tmp\n");
}

#[test]
fn a_directory_that_is_missing_is_made() {
    let case = case!();
    for readonly in [false, true] {
        case.sh("/bin/pwd; stat -c '%a %u' .", |config| {
            config["process"]["cwd"] = json!("/new/one/of/it");
            config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
            config["root"]["readonly"] = json!(readonly);
        })
        .prints("/new/one/of/it\n755 0\n");
    }
    // Never outside: what is there is a link that leads up and out, to nothing.
    let b = case.script("/bin/pwd", |config| config["process"]["cwd"] = json!("/link/x"));
    link("../../../../made-outside", &b.rootfs("link"));
    case.run(&b).prints("/made-outside/x\n");
    assert!(crate::support::is_there(b.rootfs("made-outside/x")));
}

#[test]
fn the_directory_is_entered_as_the_containers_user() {
    let case = case!();
    let b = case.script("/bin/pwd", |config| {
        config["process"]["cwd"] = json!("/private");
        config["process"]["user"] = json!({ "uid": 33, "gid": 33 });
    });
    b.put("private/.keep", "", 0o644);
    host_command("chmod", &["700".as_ref(), b.rootfs("private").as_os_str()]);
    host_command("chown", &["33".as_ref(), b.rootfs("private").as_os_str()]);
    case.run(&b).prints("/private\n");
}

#[test]
fn a_directory_that_leads_out_of_the_container_is_refused() {
    // CVE-2024-21626, T-D1: through a descriptor that the caller has left open.
    let case = case!();
    let leak = ["bash", "-c", LEAK, "bash"];
    for cwd in (3..=20).map(|n| format!("/proc/self/fd/{n}")).chain(
        [
            "/proc/self/fd/3/..",
            "/proc/self/fd/3/../../..",
            "/proc/thread-self/fd/3",
            "/proc/1/fd/6",
            "/proc/self/root/..",
        ]
        .map(String::from),
    ) {
        let b = case
            .script("/bin/pwd; cat ./etc/hostname ../../../../etc/hostname 2>/dev/null; true", |config| {
                config["process"]["cwd"] = json!(cwd)
            });
        let done = case.call_through(&leak, ["run", "-b", b.path(), &b.id]).finish();
        if done.code() == 0 {
            // The container's own root, whatever the detour: it has no /etc/hostname.
            assert!(done.lines().len() == 1 && done.stdout().starts_with('/'), "{cwd}: {done}");
        } else {
            done.fails(&["process: cwd"]);
        }
    }
}
