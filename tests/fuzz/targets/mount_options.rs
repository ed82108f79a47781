//! `mounts[].options`, one a line.

use minidocker_oci::plan::options::Options;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let words: Vec<&str> = text.split('\n').collect();
    match Options::parse(&words) {
        Ok(options) => is_sound(&options, &words),
        Err(error) => says_something(&error),
    }
}

fn is_sound(options: &Options, words: &[&str]) {
    for attr in [options.attr, options.attr_below] {
        // mount_setattr(2) refuses anything but that access times are cleared as a whole before one is set.
        let both = attr.set & attr.clear;
        assert_eq!(both & !0x70, 0, "{words:?}: {attr:?}");
    }
    for parameter in &options.parameters {
        assert!(!parameter.key.is_empty() && !parameter.key.contains('\0'), "{words:?}: {parameter:?}");
    }
    // Options mean the same whatever empty ones are among them: podman writes such.
    let with_empty: Vec<&str> = words.iter().flat_map(|word| ["", *word]).collect();
    assert_eq!(Options::parse(&with_empty).ok().as_ref(), Some(options), "{words:?}");
}
