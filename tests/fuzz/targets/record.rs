//! The record in a state directory: cut off by a full disk, of another version, or damaged.

use minidocker_oci::spec::record::Record;

pub(super) fn entry(data: &[u8]) {
    let Ok(record) = serde_json::from_slice::<Record>(data) else {
        return;
    };
    let text = serde_json::to_vec(&record).unwrap();
    let again: Record = serde_json::from_slice(&text).unwrap();
    assert_eq!(serde_json::to_vec(&again).unwrap(), text, "it is not what was written");
}
