//! A message bus with a systemd on it, as much of both as a runtime speaks to: what it is told it keeps, and it can
//! fall silent or refuse at every step. Its scopes are cgroups of the case.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use minidocker_oci::dbus::{Message, Method, Type, Value};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

use super::{Case, is_there, read};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It takes the connection and never says anything.
    SilentAtOnce,
    /// It answers everything but this method.
    SilentAt(&'static str),
    /// Its job never ends.
    NoEnd,
    /// It hangs up when it is asked for this.
    HangsUpAt(&'static str),
    /// It refuses this with an error of this name.
    Refuses(&'static str, &'static str),
    /// Its job ends so.
    Ends(&'static str),
    /// Somebody else on the bus says that its job has ended so, which is not true.
    Forged(&'static str),
    /// Who calls is in another pid namespace.
    OtherPids,
}

/// A bus; its thread ends with the test program.
#[derive(Debug)]
pub(crate) struct Bus {
    address: String,
    told: Arc<Mutex<Vec<Message>>>,
}

struct Server {
    stream: UnixStream,
    inbox: Vec<u8>,
    fault: Fault,
    scopes: PathBuf,
    told: Arc<Mutex<Vec<Message>>>,
    /// The unit that somebody looks at.
    asked: String,
}

impl Bus {
    pub(crate) fn begin(case: &Case, name: &str, fault: Fault) -> Self {
        let path = case.path(name);
        let listener = UnixListener::bind(&path).unwrap();
        let told = Arc::new(Mutex::new(Vec::new()));
        let (scopes, kept) = (case.cgroup(), Arc::clone(&told));
        let serve = move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let stream = stream.unwrap();
                let server = Server {
                    stream: stream.try_clone().unwrap(),
                    inbox: Vec::new(),
                    fault,
                    scopes: scopes.clone(),
                    told: Arc::clone(&kept),
                    asked: String::new(),
                };
                if server.serve().is_none() {
                    silent.push(stream);
                }
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { address: format!("unix:path={}", path.display()), told }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// The calls of this method, in their order.
    pub(crate) fn told(&self, member: &str) -> Vec<Message> {
        let told = self.told.lock().unwrap();
        told.iter().filter(|message| message.member.as_deref() == Some(member)).cloned().collect()
    }

    /// The properties of the only scope that was asked for.
    pub(crate) fn property(&self, name: &str) -> Option<Value> {
        let [call] = <[Message; 1]>::try_from(self.told("StartTransientUnit")).unwrap();
        let Value::Array(_, properties) = &call.body[2] else { panic!("{call:?}") };
        let mut found = properties.iter().filter_map(|property| match property {
            Value::Struct(pair) if pair[0].text() == Some(name) => Some(pair[1].clone()),
            _ => None,
        });
        let Value::Variant(value) = found.next()? else { panic!("{call:?}") };
        assert!(found.next().is_none(), "{name} is there twice");
        Some(*value)
    }
}

impl Server {
    /// `None` if the connection is to be kept and nothing more to be said.
    fn serve(mut self) -> Option<()> {
        if self.fault == Fault::SilentAtOnce {
            return None;
        }
        if let Err(error) = self.greet() {
            // Whoever is killed in the middle hangs up; what the next one says is heard all the same.
            println!("the bus: a caller is gone before it has said anything: {error}");
            return Some(());
        }
        loop {
            while let Some((message, length)) = Message::decode(&self.inbox).unwrap() {
                self.inbox.drain(..length);
                self.told.lock().unwrap().push(message.clone());
                let member = message.member.clone().unwrap();
                match self.fault {
                    Fault::SilentAt(at) if at == member => return None,
                    Fault::HangsUpAt(at) if at == member => return Some(()),
                    Fault::Refuses(at, name) if at == member => self.refuse(&message, name),
                    _ => self.answer(&message, &member)?,
                }
            }
            if self.receive() == 0 {
                return Some(());
            }
        }
    }

    /// The three lines of authentication, which come at once.
    fn greet(&mut self) -> std::io::Result<()> {
        while !self.inbox.ends_with(b"BEGIN\r\n") {
            if self.receive() == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
        assert_eq!(self.inbox, b"\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n");
        self.inbox.clear();
        self.stream.write_all(b"DATA\r\nOK 0123456789abcdef\r\n")
    }

    fn receive(&mut self) -> usize {
        let mut buffer = [0; 4096];
        let count = self.stream.read(&mut buffer).unwrap_or(0);
        self.inbox.extend_from_slice(&buffer[..count]);
        count
    }

    fn answer(&mut self, call: &Message, member: &str) -> Option<()> {
        let unit = call.body.first().and_then(Value::text).unwrap_or_default().to_owned();
        match member {
            "StartTransientUnit" => {
                self.start(&unit, call);
                self.job(call, &unit)
            }
            "StopUnit" => {
                trim(&self.scopes.join(&unit));
                self.job(call, &unit)
            }
            "Hello" => {
                self.reply(call, &[Value::str(":1.5")]);
                Some(())
            }
            "GetConnectionUnixProcessID" => {
                let pid = getsockopt(&self.stream, PeerCredentials).unwrap().pid();
                let pid = if self.fault == Fault::OtherPids { pid + 1 } else { pid };
                let named = unit == ":1.5";
                self.reply(call, &[Value::U32(if named { pid.unsigned_abs() } else { 0 })]);
                Some(())
            }
            "GetUnit" => {
                self.reply(call, &[Value::Path(format!("/unit/{}", unit.replace(['-', '.'], "_")))]);
                self.asked = unit;
                Some(())
            }
            "Get" => {
                let path = self.scopes.join(&self.asked);
                let inside = path.strip_prefix(super::cgroup_root().unwrap()).unwrap();
                let shown = if is_there(&path) { format!("/{}", inside.display()) } else { String::new() };
                self.reply(call, &[Value::variant(Value::str(shown))]);
                Some(())
            }
            _ => {
                self.reply(call, &[]);
                Some(())
            }
        }
    }

    fn start(&self, unit: &str, call: &Message) {
        let scope = self.scopes.join(unit);
        super::make_dir(&scope);
        let Value::Array(_, properties) = &call.body[2] else { panic!("{call:?}") };
        for property in properties {
            let Value::Struct(pair) = property else { panic!("{property:?}") };
            let (Some("PIDs"), Value::Variant(list)) = (pair[0].text(), &pair[1]) else { continue };
            let Value::Array(_, pids) = list.as_ref() else { panic!("{list:?}") };
            for pid in pids {
                put(&scope.join("cgroup.procs"), &pid.to_string());
            }
        }
    }

    /// The job's end comes before the answer that names it, as it may.
    fn job(&mut self, call: &Message, unit: &str) -> Option<()> {
        let job = Value::Path("/org/freedesktop/systemd1/job/7".into());
        let result = match self.fault {
            Fault::NoEnd => {
                self.reply(call, &[job]);
                return None;
            }
            Fault::Ends(result) => result,
            _ => "done",
        };
        // Another job's comes first.
        self.removed(SYSTEMD.destination, "/org/freedesktop/systemd1/job/6", unit, "canceled");
        if let Fault::Forged(result) = self.fault {
            self.removed(":1.666", "/org/freedesktop/systemd1/job/7", unit, result);
        }
        self.removed(SYSTEMD.destination, "/org/freedesktop/systemd1/job/7", unit, result);
        self.reply(call, &[job]);
        Some(())
    }

    fn removed(&mut self, sender: &str, job: &str, unit: &str, result: &str) {
        let body = [Value::U32(7), Value::Path(job.into()), Value::str(unit), Value::str(result)];
        let mut signal = Message::call(SYSTEMD, 100, &body);
        (signal.kind, signal.sender, signal.destination) = (Type::Signal, Some(sender.to_owned()), None);
        self.send(&signal);
    }

    fn reply(&mut self, call: &Message, body: &[Value]) {
        let mut reply = Message::call(SYSTEMD, 101, body);
        (reply.kind, reply.reply_to) = (Type::Return, Some(call.serial));
        reply.sender = Some(SYSTEMD.destination.to_owned());
        (reply.path, reply.interface, reply.member) = (None, None, None);
        self.send(&reply);
    }

    fn refuse(&mut self, call: &Message, name: &str) {
        let mut reply = Message::call(SYSTEMD, 102, &[Value::str("No, thanks")]);
        (reply.kind, reply.reply_to, reply.error) = (Type::Error, Some(call.serial), Some(name.to_owned()));
        (reply.path, reply.interface, reply.member) = (None, None, None);
        self.send(&reply);
    }

    fn send(&mut self, message: &Message) {
        // Byte by byte, so that nothing comes whole.
        for byte in message.encode() {
            drop(self.stream.write_all(&[byte]));
        }
    }
}

const SYSTEMD: Method<'_> = Method {
    destination: ":1.7",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
    name: "JobRemoved",
};

/// Removes a scope's cgroup, with those in it, as far as nobody is in them: what systemd does when it is told that
/// nobody is. Answers whether it is gone.
pub(crate) fn trim(scope: &Path) -> bool {
    for entry in std::fs::read_dir(scope).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            trim(&entry.path());
        }
    }
    drop(std::fs::remove_dir(scope));
    !is_there(scope)
}

/// Into a file of a cgroup.
pub(crate) fn put(path: &Path, text: &str) {
    let mut file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap_or_else(|error| panic!("{text} to {path:?}: {error}"));
}

/// The pids in a cgroup.
pub(crate) fn processes(cgroup: &Path) -> Vec<i32> {
    read(cgroup.join("cgroup.procs")).lines().map(|pid| pid.parse().unwrap()).collect()
}
