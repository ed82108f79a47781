//! `exec --user`: what is taken is what was written.

use minidocker_oci::plan::user::Numeric;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    match text.parse::<Numeric>() {
        Ok(Numeric { uid, gid: None }) => assert_eq!(uid.to_string(), text),
        Ok(Numeric { uid, gid: Some(gid) }) => assert_eq!(format!("{uid}:{gid}"), text),
        Err(error) => says_something(&error),
    }
}
