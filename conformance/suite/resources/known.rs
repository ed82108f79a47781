//! What has been found out, on this machine and on others: no kernel has all controllers. Kept as JSON beside the table.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::{Driver, Resource};

/// What a runtime has made of a property: after `create`, after `update`.
pub(super) type Values = [String; 2];

/// All values, by driver, property with file, and runtime.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Known {
    #[serde(skip)]
    file: PathBuf,
    /// By the name of the runtime.
    pub(super) versions: BTreeMap<String, String>,
    values: BTreeMap<String, BTreeMap<String, BTreeMap<String, Values>>>,
}

impl Known {
    pub(super) fn load(file: &Path) -> Result<Self> {
        let known = match fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Self::default(),
            text => serde_json::from_slice(&text?).with_context(|| file.display().to_string())?,
        };
        Ok(Self { file: file.to_owned(), ..known })
    }

    pub(super) fn save(&self) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(&self.file, text).with_context(|| format!("write {}", self.file.display()))
    }

    /// What others had with another version of it does not count any more.
    pub(super) fn set_version(&mut self, runtime: &str, version: &str) {
        let before = self.versions.insert(runtime.to_owned(), version.to_owned());
        if before.is_some_and(|before| before != version) {
            let rows = self.values.values_mut().flat_map(BTreeMap::values_mut);
            rows.for_each(|row| drop(row.remove(runtime)));
        }
    }

    pub(super) fn set(&mut self, driver: Driver, resource: &Resource, runtime: &str, values: Values) {
        let row = self.values.entry(driver.name().to_owned()).or_default().entry(key(resource)).or_default();
        row.insert(runtime.to_owned(), values);
    }

    pub(super) fn get(&self, driver: Driver, resource: &Resource, runtime: &str) -> Option<&Values> {
        self.values.get(driver.name())?.get(&key(resource))?.get(runtime)
    }
}

fn key(resource: &Resource) -> String {
    format!("{} {}", resource.property, resource.file())
}
