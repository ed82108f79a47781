//! `state ID`: runtime.md, "Query State".

use super::{Runtime, look};
use crate::container::id::ContainerId;
use crate::container::status::Status;
use crate::error::{Kind, Result, failure};
use crate::spec::record::StateDocument;

/// The container's state as it is now.
pub fn state(runtime: &Runtime, id: &ContainerId) -> Result<StateDocument> {
    match look(runtime, id)? {
        (Some(record), current) => Ok(record.document(current.status.word(), current.pid())),
        (None, _) => Err(failure(
            Kind::InvalidState,
            format!("container {id} is {}: nothing is recorded of it yet", Status::Creating),
        )),
    }
}
