//! `linux.cgroupsPath`, with an id.

use std::path::{Component, Path};

use minidocker_oci::plan::resources;
use minidocker_oci::spec::oci::{Linux, Spec};
use minidocker_oci::spec::record::Driver;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let linux: Linux = serde_json::from_value(serde_json::json!({ "cgroupsPath": text })).unwrap();
    let path = match resources::plan(&Spec::default(), &linux, "fuzz", Driver::Cgroupfs) {
        Ok(plan) => plan.path,
        Err(error) => return says_something(&error),
    };
    let plain = |component| matches!(component, Component::Normal(_));
    assert!(path.components().all(plain) && path.components().count() > 0, "{text:?} is {path:?}");
    assert!(!path.to_string_lossy().contains('\0'), "{text:?} is {path:?}");
    if Path::new(text.as_ref()).is_absolute() {
        // An absolute one is where it says, and nowhere else.
        let same: std::path::PathBuf = Path::new(text.as_ref()).components().skip(1).collect();
        assert_eq!(same, path);
    }
}
