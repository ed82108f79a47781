//! The systemd driver: a scope is asked for and given back over D-Bus. org.freedesktop.systemd1(5),
//! systemd.scope(5), <https://systemd.io/CONTROL_GROUP_INTERFACE>.
//!
//! It is the bus that is spoken to and not /run/systemd/private, which is said to be systemctl's alone (systemd(1)).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::stat::stat;
use nix::unistd::{Pid, geteuid};

use super::Tree;
use super::events::Now;
use crate::dbus::{Connection, Message, Method, Value, refusal_of};
use crate::error::{Doing, Kind, Result, best_effort, errno_of, failure, unsupported};
use crate::plan::resources::systemd::{ANNOTATION, Limit, Property, Scope, properties};
use crate::spec::record::{CgroupRecord, Manager, UnitRecord};
use crate::sys::Errno;

/// All that is said over one connection is over by then, authentication included.
const DEADLINE: Duration = Duration::from_secs(10);

/// There if systemd has booted the machine: sd_booted(3). It is the one's who runs the machine's own.
const BOOTED: &str = "/run/systemd/system";

/// Makes a scope with this process in it.
pub(super) fn start(tree: &Tree, scope: &Scope, unit: &UnitRecord, pid: Pid) -> Result<()> {
    about(unit, |systemd| systemd.start(tree, scope, unit.manager, pid))
}

/// Ends a scope and forgets that it has failed, if it has; one that is gone is fine.
pub(super) fn stop(unit: &UnitRecord) -> Result<()> {
    about(unit, |systemd| systemd.stop(&unit.name))
}

/// The same for one that may be another container's: only if nobody is in it. Whose it was has been killed, or his last
/// process has ended in the moment in which systemd had begun to watch it and could not see that any more.
pub fn stop_if_empty(tree: &Tree, unit: &UnitRecord) -> Result<()> {
    about(unit, |systemd| systemd.stop_if_empty(tree, &unit.name))
}

/// Moves a process into the container's cgroup of the scope, from wherever it is.
pub fn attach(unit: &UnitRecord, pid: Pid) -> Result<()> {
    about(unit, |systemd| systemd.attach(unit, pid))
}

/// Has systemd know of limits that are written to the scope's cgroup, until it ends: else it would write its own
/// again. It writes them, too, in its own way and before this is over: what has to be exact is written afterwards.
pub(super) fn update<'a>(unit: &UnitRecord, limits: impl IntoIterator<Item = Limit<'a>>) -> Result<()> {
    let properties = properties(limits);
    if properties.is_empty() {
        return Ok(());
    }
    about(unit, |systemd| systemd.set(&unit.name, &properties))
}

/// One conversation with the unit's manager.
fn about(unit: &UnitRecord, say: impl FnOnce(&mut Systemd) -> Result<()>) -> Result<()> {
    Systemd::connect(unit.manager)
        .and_then(|mut systemd| say(&mut systemd))
        .doing(|| format!("scope {}", unit.name))
}

/// Whose containers these are: root's are the machine's, unless this is a user's own root, in a user namespace, where
/// what is the machine's is nobody's.
pub fn manager() -> Manager {
    let euid = geteuid();
    let machines = stat(BOOTED).map_or(euid.is_root(), |stat| stat.st_uid == euid.as_raw());
    if machines { Manager::System } else { Manager::User }
}

/// D-Bus specification, "Well-known Message Bus Instances"; an ordinary user's is where systemd has it.
fn address(manager: Manager) -> Result<OsString> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    match manager {
        Manager::System => {
            Ok(set("DBUS_SYSTEM_BUS_ADDRESS")
                .unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".into()))
        }
        Manager::User => set("DBUS_SESSION_BUS_ADDRESS")
            .or_else(|| {
                let mut address = OsString::from("unix:path=");
                address.push(escaped(&set("XDG_RUNTIME_DIR")?));
                address.push("/bus");
                Some(address)
            })
            .ok_or_else(|| {
                failure(
                    Kind::Unsupported,
                    "neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set: the user has no session; \
                     give him one (loginctl enable-linger), or use the cgroupfs driver",
                )
            }),
    }
}

/// A path as the value of an address: what it can't have is `%` and two digits.
fn escaped(path: &std::ffi::OsStr) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_/.\\*".contains(&b);
    let one = |b: &u8| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02x}") };
    std::os::unix::ffi::OsStrExt::as_bytes(path).iter().map(one).collect()
}

struct Systemd(Connection);

const MANAGER: Method<'_> = Method {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    name: "",
};

impl Systemd {
    fn connect(manager: Manager) -> Result<Self> {
        let what = match manager {
            Manager::System => "system bus",
            Manager::User => "session bus",
        };
        let address = address(manager)?;
        let opened = Connection::open(&address, Instant::now() + DEADLINE).map(Self);
        opened
            .map_err(|error| explained(error, manager))
            .doing(|| format!("{what} {}", Path::new(&address).display()))
    }

    fn call(&mut self, name: &str, arguments: &[Value]) -> Result<Message> {
        self.0.call(Method { name, ..MANAGER }, arguments)
    }

    fn start(&mut self, tree: &Tree, scope: &Scope, manager: Manager, pid: Pid) -> Result<()> {
        let mut properties = scope.properties.clone();
        let slice = scope.slice.as_deref().unwrap_or(match manager {
            Manager::System => "system.slice",
            Manager::User => "user.slice",
        });
        // An annotation may have another slice.
        if !properties.iter().any(|(name, _)| name == "Slice") {
            properties.push(("Slice".to_owned(), Value::str(slice)));
        }
        properties.push(("PIDs".to_owned(), self.pids(pid)?));
        let none = Value::Array("(sa(sv))".to_owned(), Vec::new());
        // "fail": a job of another's for a unit of this name is not replaced.
        let arguments = [Value::str(&scope.name), Value::str("fail"), list(&properties), none];
        self.listen(&scope.name)?;
        let job = match self.call("StartTransientUnit", &arguments) {
            Err(error) if is(&error, "UnitExists") => {
                best_effort("stop an abandoned scope", self.stop_if_empty(tree, &scope.name));
                self.call("StartTransientUnit", &arguments).map_err(|error| exists(error, &scope.name))?
            }
            job => job.map_err(|error| annotations_named(error, scope))?,
        };
        match self.result_of(&job)?.as_str() {
            "done" => Ok(()),
            result => Err(failure(
                Kind::System,
                format!(
                    "systemd has not started it, the result of its job is {result:?}; journalctl -u {} tells more",
                    scope.name
                ),
            )),
        }
    }

    fn attach(&mut self, unit: &UnitRecord, pid: Pid) -> Result<()> {
        let within = unit.subgroup.iter().map(|name| format!("/{name}")).collect::<String>();
        let arguments = [Value::str(&unit.name), Value::str(within), self.pids(pid)?];
        self.call("AttachProcessesToUnit", &arguments).map(drop)
    }

    /// A process, unless systemd counts otherwise: else it would be a stranger that is moved into the scope, and killed
    /// with it.
    fn pids(&mut self, one: Pid) -> Result<Value> {
        let number = |pid: Pid| pid.as_raw().unsigned_abs();
        match self.0.own_pid()? == number(Pid::this()) {
            true => Ok(Value::Array("u".to_owned(), vec![Value::U32(number(one))])),
            false => Err(unsupported(
                "this command is in another pid namespace than the bus, and systemd would take other processes for \
                 the container's: use the cgroupfs driver (without --systemd-cgroup)",
            )),
        }
    }

    fn stop_if_empty(&mut self, tree: &Tree, name: &str) -> Result<()> {
        let unit = match self.call("GetUnit", &[Value::str(name)]) {
            Err(error) if is(&error, "NoSuchUnit") => return Ok(()),
            unit => unit?,
        };
        let path = unit.body.first().and_then(Value::text);
        let path = path.ok_or_else(|| failure(Kind::System, "systemd has answered without a unit"))?;
        let get = Method { path, interface: "org.freedesktop.DBus.Properties", name: "Get", ..MANAGER };
        let wanted = ["org.freedesktop.systemd1.Scope", "ControlGroup"].map(Value::str);
        let cgroup: PathBuf = match self.0.call(get, &wanted)?.body.first() {
            Some(Value::Variant(value)) => value.text().unwrap_or_default().trim_start_matches('/').into(),
            _ => return Err(failure(Kind::System, "systemd has answered without a cgroup")),
        };
        // One that has failed has none any more, and no path is the root's.
        let cgroup = match cgroup.as_os_str().is_empty() {
            true => None,
            false => tree.open(&CgroupRecord::unmade(cgroup))?,
        };
        match cgroup.map(|cgroup| Now::of(&cgroup)).transpose()? {
            Some(Now { populated: true, .. }) => Ok(()),
            _ => self.stop(name),
        }
    }

    fn stop(&mut self, name: &str) -> Result<()> {
        self.listen(name)?;
        match self.call("StopUnit", &[Value::str(name), Value::str("replace")]) {
            Err(error) if is(&error, "NoSuchUnit") => return Ok(()),
            job => {
                let result = self.result_of(&job?)?;
                if result != "done" {
                    let text = format!("systemd has not stopped it, the result of its job is {result:?}");
                    return Err(failure(Kind::System, text));
                }
            }
        }
        self.forget(name)
    }

    /// One that has failed would stay, to be looked at.
    fn forget(&mut self, name: &str) -> Result<()> {
        match self.call("ResetFailedUnit", &[Value::str(name)]) {
            Err(error) if is(&error, "NoSuchUnit") => Ok(()),
            done => done.map(drop),
        }
    }

    fn set(&mut self, name: &str, properties: &[Property]) -> Result<()> {
        /// Until the unit ends, and not in a file for the next of its name.
        const RUNTIME: Value = Value::Bool(true);
        self.call("SetUnitProperties", &[Value::str(name), RUNTIME, list(properties)])?;
        // It has only been noted then. Before systemd listens to anybody again, it has been done.
        let ping = Method { interface: "org.freedesktop.DBus.Peer", name: "Ping", ..MANAGER };
        self.0.call(ping, &[]).map(drop)
    }

    /// Before the job is asked for, which may be over before its answer.
    fn listen(&mut self, unit: &str) -> Result<()> {
        self.0.subscribe(&format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved',arg2='{unit}'",
            MANAGER.destination, MANAGER.path, MANAGER.interface
        ))
    }

    /// JobRemoved(u id, o job, s unit, s result), from whom the job is.
    fn result_of(&mut self, answer: &Message) -> Result<String> {
        let job = answer.body.first().and_then(Value::text);
        let job = job.ok_or_else(|| failure(Kind::System, "systemd has answered without a job"))?.to_owned();
        let result = |signal: &Message| match signal.body.as_slice() {
            [_, of, _, result]
                if signal.member.as_deref() == Some("JobRemoved")
                    && signal.sender == answer.sender
                    && of.text() == Some(&job) =>
            {
                result.text().map(str::to_owned)
            }
            _ => None,
        };
        self.0.wait_for("JobRemoved", result).doing(|| format!("job {job}"))
    }
}

fn list(properties: &[Property]) -> Value {
    let one = |(name, value): &Property| Value::Struct(vec![Value::str(name), Value::variant(value.clone())]);
    Value::Array("(sv)".to_owned(), properties.iter().map(one).collect())
}

/// Whether systemd has refused with this error.
fn is(error: &anyhow::Error, name: &str) -> bool {
    refusal_of(error)
        .is_some_and(|refusal| refusal.name.strip_prefix("org.freedesktop.systemd1.") == Some(name))
}

/// systemd does not say which property is of a wrong type; the runtime's own are not.
fn annotations_named(error: anyhow::Error, scope: &Scope) -> anyhow::Error {
    if refusal_of(&error).is_none() || scope.annotated.is_empty() {
        return error;
    }
    let text = format!(
        "with annotations.{ANNOTATION}{{{}}} (is each a property of a scope, and of the right type?)",
        scope.annotated.join(", ")
    );
    error.context(text)
}

fn exists(error: anyhow::Error, name: &str) -> anyhow::Error {
    match is(&error, "UnitExists") {
        true => failure(
            Kind::Exists,
            format!(
                "there is a unit of this name, of another container maybe; systemctl stop {name} ends it"
            ),
        ),
        false => error,
    }
}

/// What it means that nobody listens.
fn explained(error: anyhow::Error, manager: Manager) -> anyhow::Error {
    let none = matches!(errno_of(&error), Some(Errno::ENOENT | Errno::ECONNREFUSED));
    if !none {
        return error;
    }
    let remedy = match (manager, stat(BOOTED)) {
        (_, Err(_)) => {
            "systemd does not run this machine: use the cgroupfs driver (without --systemd-cgroup)"
        }
        (Manager::System, Ok(_)) => {
            "there is no message bus: start it (systemctl start dbus.socket), or use the cgroupfs driver"
        }
        (Manager::User, Ok(_)) => {
            "there is no message bus of this user: give him a session (loginctl enable-linger), or use the cgroupfs driver"
        }
    };
    failure(Kind::Unsupported, format!("{}; {remedy}", error.root_cause()))
}

#[cfg(test)]
mod tests {
    use super::escaped;

    #[test]
    fn a_path_in_an_address_is_escaped() {
        assert_eq!(escaped("/run/user/1000".as_ref()), "/run/user/1000");
        assert_eq!(escaped("/a b,c;%".as_ref()), "/a%20b%2cc%3b%25");
    }
}
