//! A container's id.

use std::path::{Component, Path};

use minidocker_oci::container::id::ContainerId;

use super::says_something;

pub(super) fn entry(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let id = match text.parse::<ContainerId>() {
        Ok(id) => id,
        Err(error) => {
            assert!(ContainerId::from_name(&text).is_none(), "{text:?} is an id only as a name");
            return says_something(&error);
        }
    };
    assert_eq!(id.as_str(), text);
    assert_eq!(ContainerId::from_name(&text), Some(id));
    let mut components = Path::new(text.as_ref()).components();
    assert_eq!(components.next(), Some(Component::Normal(text.as_ref().as_ref())), "{text:?}");
    assert!(components.next().is_none() && text.len() <= 255 && !text.starts_with('.'), "{text:?}");
}
