//! `hooks`: config.md, "POSIX-platform Hooks".

use crate::error::{Doing, Result, invalid};
use crate::spec::oci::{Hook, Spec};

/// The hooks of each kind, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HookPlan {
    /// In the runtime's namespaces, in `create`.
    pub prestart: Vec<Hook>,
    /// In the runtime's namespaces, in `create`, after prestart.
    pub create_runtime: Vec<Hook>,
    /// In the container's namespaces, before the pivot.
    pub create_container: Vec<Hook>,
    /// In the container's namespaces, in `start`, before the program.
    pub start_container: Vec<Hook>,
    /// In the runtime's namespaces, in `start`, after the program has started.
    pub poststart: Vec<Hook>,
    /// In the runtime's namespaces, in `delete`.
    pub poststop: Vec<Hook>,
}

impl HookPlan {
    /// Whether there is any at all.
    pub fn any(&self) -> bool {
        let kinds = [
            &self.prestart,
            &self.create_runtime,
            &self.create_container,
            &self.start_container,
            &self.poststart,
            &self.poststop,
        ];
        kinds.iter().any(|hooks| !hooks.is_empty())
    }

    /// Whether `create` has any to run on the host's side.
    pub fn any_for_host_in_create(&self) -> bool {
        !(self.prestart.is_empty() && self.create_runtime.is_empty())
    }
}

/// Checks all hooks.
pub fn plan(spec: &Spec) -> Result<HookPlan> {
    let Some(hooks) = spec.hooks() else {
        return Ok(HookPlan::default());
    };
    let prestart = hooks.prestart();
    Ok(HookPlan {
        prestart: checked("prestart", prestart.as_deref())?,
        create_runtime: checked("createRuntime", hooks.create_runtime().as_deref())?,
        create_container: checked("createContainer", hooks.create_container().as_deref())?,
        start_container: checked("startContainer", hooks.start_container().as_deref())?,
        poststart: checked("poststart", hooks.poststart().as_deref())?,
        poststop: checked("poststop", hooks.poststop().as_deref())?,
    })
}

fn checked(kind: &'static str, hooks: Option<&[Hook]>) -> Result<Vec<Hook>> {
    let hooks = hooks.unwrap_or_default();
    for (index, hook) in hooks.iter().enumerate() {
        check(hook).doing(|| format!("{kind}[{index}] {}", hook.path().display()))?;
    }
    Ok(hooks.to_vec())
}

fn check(hook: &Hook) -> Result<()> {
    if !hook.path().is_absolute() {
        return Err(invalid("the path is not absolute"));
    }
    if hook.timeout().is_some_and(|seconds| seconds <= 0) {
        return Err(invalid(format!("timeout {} is not more than 0", hook.timeout().unwrap_or(0))));
    }
    let strings = hook.args().iter().flatten().chain(hook.env().iter().flatten());
    match strings.chain([&hook.path().to_string_lossy().into_owned()]).any(|text| text.contains('\0')) {
        true => Err(invalid("path, args or env has a NUL byte")),
        false => Ok(()),
    }
}
