//! config.md: hostname and domainname.

use nix::sched::CloneFlags;

use crate::clause::{Clause, must};
use crate::host::Held;

const HOSTNAME: &str = "config.md#hostname";
const HOST: &str = "hostname (string, OPTIONAL) specifies the container's hostname as seen by processes running inside the container.";
const DOMAINNAME: &str = "config.md#domainname";
const DOMAIN: &str = "domainname (string, OPTIONAL) specifies the container's domainname as seen by processes running inside the container.";
const NAMESPACE: &str =
    "On Linux, for example, this will change the hostname in the container UTS namespace.";
const CREATE: &str = "runtime.md#create";
const ERROR: &str =
    "If the runtime cannot apply a property as specified in the configuration, it MUST generate an error";

pub(crate) const CLAUSES: &[Clause] = &[
    must("config.hostname.applied", (HOSTNAME, HOST), |lab| {
        lab.with("hostname", "mrsdalloway").sees("hostname", "mrsdalloway")
    }),
    must("config.hostname.absent", (HOSTNAME, HOST), |lab| {
        let own = nix::unistd::gethostname()?.to_string_lossy().into_owned();
        lab.without("hostname").sees("hostname", own)
    }),
    must("config.hostname.longest", (HOSTNAME, HOST), |lab| {
        lab.with("hostname", "x".repeat(64)).sees("hostname", "x".repeat(64))
    }),
    must("config.hostname.too-long", (CREATE, ERROR), |lab| {
        lab.with("hostname", "x".repeat(65)).refused("hostname")
    }),
    must("config.hostname.user-namespace", (HOSTNAME, HOST), |lab| {
        lab.with("hostname", "inner").user_namespace(300_000).sees("hostname", "inner")
    }),
    must("config.hostname.joined-namespace", (HOSTNAME, NAMESPACE), |lab| {
        let held = Held::new(CloneFlags::CLONE_NEWUTS, || nix::unistd::sethostname("before"))?;
        lab.with("hostname", "after").join("uts", held.path("uts")).sees("hostname", "after")
    }),
    must("config.domainname.applied", (DOMAINNAME, DOMAIN), |lab| {
        lab.with("domainname", "foobarbaz.test").sees("domainname", "foobarbaz.test")
    }),
    must("config.domainname.longest", (DOMAINNAME, DOMAIN), |lab| {
        lab.with("domainname", "x".repeat(64)).sees("domainname", "x".repeat(64))
    }),
    must("config.domainname.too-long", (CREATE, ERROR), |lab| {
        lab.with("domainname", "x".repeat(65)).refused("domainname")
    }),
    must("config.domainname.user-namespace", (DOMAINNAME, DOMAIN), |lab| {
        lab.with("domainname", "inner").user_namespace(300_000).sees("domainname", "inner")
    }),
    must("config.domainname.joined-namespace", (DOMAINNAME, NAMESPACE), |lab| {
        let held = Held::new(CloneFlags::CLONE_NEWUTS, || Ok(()))?;
        lab.with("domainname", "after").join("uts", held.path("uts")).sees("domainname", "after")
    }),
    must("config.domainname.absent", (DOMAINNAME, DOMAIN), |lab| {
        let own = nix::sys::utsname::uname()?.domainname().to_string_lossy().into_owned();
        lab.base().sees("domainname", own)
    }),
];
