//! `list`: all containers of a state root.

use super::{Runtime, state::state};
use crate::error::{Result, best_effort};
use crate::spec::record::StateDocument;

/// The states of all containers, by id. One that vanishes meanwhile, or can't be read, is left out.
pub fn list(runtime: &Runtime) -> Result<Vec<StateDocument>> {
    let mut states = Vec::new();
    for id in runtime.store.ids()? {
        match state(runtime, &id) {
            Ok(state) => states.push(state),
            Err(error) => best_effort("left out of the list", Err::<(), _>(error)),
        }
    }
    Ok(states)
}

/// As a table, the columns as wide as they need to be.
pub fn table(states: &[StateDocument]) -> String {
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
    let widths: Vec<usize> =
        (0..6).map(|c| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &[String; 6]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
        format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}
