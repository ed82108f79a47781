//! Mounts of an ordinary user: init finds what they bind before its ids change, and copies it in its turn.

use serde_json::json;

use super::{SHOW, Volume};
use crate::support::bundle::add_mount;
use crate::support::mountinfo::{mount_at, mounts};
use crate::support::user::user;
use crate::support::{case, link};

#[test]
fn a_users_mounts_are_in_their_order_and_follow_the_host_where_they_are_to() {
    let case = case!();
    let volume = Volume::new(&case, "private");
    let user = user!(case).after(&format!("mount --make-rshared {}", volume.dir.display()));
    let b = user.bundle(SHOW, |config| {
        add_mount(config, "/first", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/second", "bind", &volume.dir, &["rbind", "rslave"]);
        add_mount(config, "/third", "tmpfs", "tmpfs", &[]);
        add_mount(config, "/fourth", "bind", &volume.dir, &["rbind"]);
    });
    let done = user.run(&b).ok();
    let all = mounts(&done);
    let place = |at: &str| all.iter().position(|mount| mount.at == at);
    let order = ["/first", "/second", "/second/sub", "/third", "/fourth", "/fourth/sub"].map(place);
    assert!(order[0].is_some() && order.is_sorted(), "{done}");
    let kinds = ["/second", "/second/sub", "/fourth", "/fourth/sub"].map(|at| mount_at(&done, at).kind());
    assert_eq!(kinds, ["slave", "slave", "private", "private"], "{done}");
}

#[test]
fn a_users_shared_bind_is_covered_as_well() {
    let case = case!();
    let volume = Volume::new(&case, "private");
    let user = user!(case).after(&format!("mount --make-rshared {}", volume.dir.display()));
    let b = user.bundle("wc -c </v/file; ls /v/sub | wc -l", |config| {
        add_mount(config, "/v", "bind", &volume.dir, &["rbind", "rshared"]);
        config["linux"]["maskedPaths"] = json!(["/v/file", "/v/sub"]);
    });
    user.run(&b).prints("0\n0\n");
}

#[test]
fn a_user_copies_and_binds_links_and_maps_no_ids() {
    let case = case!();
    let user = user!(case);
    let script = "readlink /copied; readlink /bound; cat /followed";
    let change = |config: &mut serde_json::Value| {
        add_mount(config, "/copied", "bind", "dangling", &["bind", "copy-symlink"]);
        add_mount(config, "/bound", "bind", "to-file", &["bind", "src-nofollow", "dest-nofollow"]);
        add_mount(config, "/followed", "bind", "to-file", &["bind", "ro"]);
    };
    let b = user.bundle(script, change);
    link("/no/where", &b.dir.join("dangling"));
    link("file", &b.dir.join("to-file"));
    user.file(&b.dir.join("file"), "in file\n");
    link("/else/where", &b.rootfs("bound"));
    user.run(&b).prints("/no/where\nfile\nin file\n");
    let b = user.bundle("true", |config| add_mount(config, "/m", "bind", "/", &["bind", "idmap"]));
    user.run(&b).fails(&["/m", "only root can map the ids of a mount"]);
}
