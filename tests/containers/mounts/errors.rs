//! What is said when a mount fails.

use serde_json::Value;

use crate::support::bundle::add_mount;
use crate::support::case;

#[test]
fn a_mount_that_fails_tells_what_the_kernel_said() {
    let case = case!();
    let b = case
        .script("true", |config: &mut Value| add_mount(config, "/x", "tmpfs", "tmpfs", &["mode=notoctal"]));
    // The message of the file system context, which EINVAL alone does not carry.
    case.create(&b).fails(&["mounts[4] /x", "mode", "(EINVAL)", "Bad value for 'mode'"]);
}

#[test]
fn whatever_the_kernel_refuses_is_named_with_its_errno() {
    let case = case!();
    let dir = case.subdir("dir");
    let dir = dir.to_str().unwrap();
    for (kind, source, options, said) in [
        (
            "tmpfs",
            "tmpfs",
            &["novel=1"][..],
            &["SET_STRING, \"novel\"", "Unknown parameter 'novel'", "(EINVAL)"][..],
        ),
        ("tmpfs", "tmpfs", &["novel"], &["SET_FLAG, \"novel\"", "Unknown parameter 'novel'", "(EINVAL)"]),
        ("tmpfs", "tmpfs", &["size=much"], &["\"size\", \"much\"", "Bad value for 'size'", "(EINVAL)"]),
        ("tmpfs", "tmpfs", &["=x"], &["has no name before the"]),
        ("novelfs", "x", &[], &["fsopen(\"novelfs\")", "(ENODEV)"]),
        ("ext4", "/no/device", &[], &["CMD_CREATE", "[kernel: /no/device: Can't ", " blockdev]", "(ENOENT)"]),
        ("ext4", dir, &[], &["CMD_CREATE", "[kernel: ", "(ENOTBLK)"]),
        ("bind", "/no/file", &["bind"], &["\"/no/file\"", "(ENOENT)"]),
        ("bind", "/no/file", &["rbind", "rshared"], &["\"/no/file\"", "(ENOENT)"]),
        ("tmpfs", "tmpfs", &["remount", "nodev"], &["mount_setattr(set nodev)", "(EINVAL)"]),
    ] {
        let b = case.script("true", |config| add_mount(config, "/bin", kind, source, options));
        let done = case.create(&b).fails(&[&["mounts[4] /bin"], said].concat());
        assert!(!done.stderr().contains("[kernel: e "), "{done}");
    }
}

#[test]
fn a_value_that_fsconfig_can_not_take_is_refused_before_anything_exists() {
    let case = case!();
    let long = "x".repeat(256);
    for (source, option) in [("tmpfs", format!("novel={long}")), (long.as_str(), "size=1m".to_owned())] {
        let b = case.script("true", |config| add_mount(config, "/x", "tmpfs", source, &[option.as_str()]));
        case.create(&b).fails(&["mounts[4] /x", "256 bytes, fsconfig(2) takes 255"]);
    }
}

#[test]
fn a_bind_that_can_not_be_opened_says_which_call_refused() {
    let case = case!();
    let volume = super::Volume::new(&case, "unbindable");
    let b = case.script("true", |config| add_mount(config, "/x", "bind", &volume.dir, &["bind", "shared"]));
    case.create(&b).fails(&["mounts[4] /x", "open_tree(", "volume", "OPEN_TREE_CLONE", "(EINVAL)"]);
}
