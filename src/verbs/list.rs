//! `list`: all containers of a state root.

use super::{Runtime, state};
use crate::error::{Result, best_effort};
use crate::spec::record::StateDocument;

/// The states of all containers, by id. One that vanishes meanwhile, or can't be read, is left out.
pub fn list(runtime: &Runtime) -> Result<Vec<StateDocument>> {
    let mut states = Vec::new();
    for id in runtime.store.ids()? {
        match state::brief(runtime, &id) {
            Ok(state) => states.push(state),
            Err(error) => best_effort("left out of the list", Err::<(), _>(error)),
        }
    }
    Ok(states)
}

/// As a table in runc's form, which people parse: columns of 12 or more, at least 3 of them blank.
pub fn table(states: &[StateDocument]) -> String {
    const LEAST: usize = 12;
    const BLANK: usize = 3;
    let mut rows = vec![["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned)];
    rows.extend(states.iter().map(|state| {
        let bundle = state.bundle.display().to_string();
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.clone(),
            bundle,
            state.created.clone(),
            state.owner.clone(),
        ]
    }));
    let longest = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..5).map(|column| LEAST.max(longest(column) + BLANK)).collect();
    let line = |[cells @ .., last]: &[String; 6]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}{last}\n", padded.collect::<String>())
    };
    rows.iter().map(line).collect()
}
