//! Further ids, by newuidmap and newgidmap.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::support::bundle::add_mount;
use crate::support::user::{SUBIDS, User, user};
use crate::support::{case, host_command, installed, make_dir, need};

fn set_maps(config: &mut Value, maps: &Value) {
    for map in ["uidMappings", "gidMappings"] {
        config["linux"][map] = maps.clone();
    }
}

#[test]
fn further_ids_are_mapped_through_newuidmap_and_newgidmap() {
    let case = case!();
    let user = user!(case).with_subids();
    need!(installed("newuidmap"), "newuidmap is not installed");
    let (first, count) = SUBIDS;
    let own_and_more = |own: u32| json!([{ "containerID": 0, "hostID": own, "size": 1 }, { "containerID": 1, "hostID": first, "size": count }]);
    let b = user.bundle("id; cat /proc/self/setgroups; echo x >/volume/made; cat /volume/there", |config| {
        config["linux"]["uidMappings"] = own_and_more(user.uid());
        config["linux"]["gidMappings"] = own_and_more(user.gid());
        config["process"]["user"] = json!({ "uid": 7, "gid": 8, "additionalGids": [9, 10] });
        add_mount(config, "/volume", "bind", "volume", &["rbind"]);
    });
    let volume = b.dir.join("volume");
    make_dir(&volume);
    host_command("chmod", &["777".as_ref(), volume.as_os_str()]);
    user.file(&volume.join("there"), "mine\n");
    // A home that only its owner can search.
    user.own(&b.dir);
    host_command("chmod", &["700".as_ref(), b.dir.as_os_str()]);
    user.run(&b).prints("uid=7 gid=8 groups=9,10\nallow\nmine\n");
    let made = std::fs::metadata(volume.join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (first + 6, first + 7));
    // Nothing but further ids: who prepares the container is nobody's owner in that home.
    let all = json!([{ "containerID": 0, "hostID": first, "size": count }]);
    let mut config = b.config();
    set_maps(&mut config, &all);
    b.save(&config);
    user.run(&b).prints("uid=7 gid=8 groups=9,10\nallow\nmine\n");
    user.has_no_container();
}

#[test]
fn what_newuidmap_does_not_allow_names_the_line_that_is_missing() {
    let case = case!();
    need!(installed("newuidmap"), "newuidmap is not installed");
    let foreign = |user: &User<'_>| {
        user.bundle("true", |config| {
            set_maps(config, &json!([{ "containerID": 0, "hostID": 3_000_000, "size": 10 }]));
        })
    };
    let user = user!(case).with_subids();
    let b = foreign(&user);
    let line = format!("{}:3000000:10", user.uid());
    user.run(&b).fails(&["linux.uidMappings", "newuidmap", "/etc/subuid", &line]);
    // Groups alone.
    let mut config = b.config();
    config["linux"]["uidMappings"] = json!([{ "containerID": 0, "hostID": user.uid(), "size": 1 }]);
    b.save(&config);
    user.run(&b).fails(&["linux.gidMappings", "newgidmap", "/etc/subgid", &line]);
    // No such program; one of the caller's own PATH is not taken for it.
    let fake = case.subdir("fake");
    crate::support::write(&fake.join("newuidmap"), "#!/bin/sh\nexit 0\n", 0o755);
    let user = user.after("for d in /usr/bin /bin; do if [ -f $d/newuidmap ]; then mount --bind /dev/null $d/newuidmap; fi; done");
    let b = foreign(&user);
    let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", fake.display());
    user.call(&["run", "-b", b.path(), &b.id]).env("PATH", path).finish().fails(&[
        "linux.uidMappings",
        "newuidmap is missing",
        "uidmap",
    ]);
    user.has_no_container();
}
