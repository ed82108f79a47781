//! Overlays by description: the kernel's filesystems/overlayfs.rst.

use crate::support::bundle::{Bundle, add_mount};
use crate::support::mountinfo::mount_at;
use crate::support::{Case, case, is_there, make_dir, read, write};

/// Directories for an overlay beside the root, each lower one with a file of its own name.
fn with_layers(case: &Case, script: &str, lower: &[&str], options: &[String]) -> Bundle {
    let words: Vec<&str> = options.iter().map(String::as_str).collect();
    let b = case.script(script, |config| add_mount(config, "/v", "overlay", "overlay", &words));
    for name in lower.iter().chain(&["up", "work"]) {
        make_dir(&b.dir.join(name));
    }
    for (number, name) in lower.iter().enumerate() {
        write(&b.dir.join(name).join(format!("f{number}")), format!("{number}\n"), 0o644);
    }
    b
}

fn options(lower: &str) -> Vec<String> {
    vec![format!("lowerdir={lower}"), "upperdir=up".into(), "workdir=work".into()]
}

#[test]
fn directories_are_relative_to_the_bundle_or_absolute() {
    let case = case!();
    let script = "cat /v/f0 /v/f1; echo new >/v/new; cat /proc/self/mountinfo";
    let outside = case.subdir("outside");
    write(&outside.join("f1"), "1\n", 0o644);
    let lower = format!("low:{}", outside.display());
    let b = with_layers(&case, script, &["low"], &options(&lower));
    // Nothing of the same names in the image is meant.
    make_dir(&b.rootfs("low"));
    let done = case.run(&b).ok();
    assert!(done.stdout().starts_with("0\n1\n"), "{done}");
    assert_eq!(mount_at(&done, "/v").fstype, "overlay");
    assert_eq!(read(b.dir.join("up/new")), "new\n");
    assert!(!is_there(b.dir.join("low/new")));
}

#[test]
fn a_colon_or_a_comma_in_a_name_is_escaped() {
    let case = case!();
    let b = with_layers(
        &case,
        "cat /v/f0 /v/f1",
        &["with:colon", "with,comma"],
        &options("with\\:colon:with\\,comma"),
    );
    case.run(&b).prints("0\n1\n");
}

#[test]
fn options_may_come_in_one_word() {
    let case = case!();
    let b = with_layers(&case, "cat /v/f0", &["low"], &["lowerdir=low,upperdir=up,workdir=work".into()]);
    case.run(&b).prints("0\n");
}

#[test]
fn a_list_of_layers_may_be_longer_than_one_value() {
    let case = case!();
    let names: Vec<String> = (0..40).map(|n| format!("layer-{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let b = with_layers(&case, "cat /v/f0 /v/f39; ls /v | wc -l", &names, &options(&names.join(":")));
    case.run(&b).prints("0\n39\n40\n");
}

#[test]
fn a_layer_that_is_missing_is_an_error_that_names_it() {
    let case = case!();
    let b = with_layers(&case, "true", &[], &options("missing"));
    case.create(&b).fails(&["mounts[4] /v", "lowerdir", "/missing", "(ENOENT)"]);
}
