//! The messages of CRIU's service: its images/rpc.proto, those of their fields that are used here. What is not here
//! the other side takes as not said, and what it says besides is skipped.

use prost::Message;

/// What a request asks for, and what a response answers: `criu_req_type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Kind {
    /// None of what is below.
    Empty = 0,
    /// Write the processes to images, and end them.
    Dump = 1,
    /// Make processes from images.
    Restore = 2,
    /// Something has happened on the way.
    Notify = 6,
    /// Which version this is.
    Version = 10,
    /// Write what is in memory now, and let the processes go on.
    SinglePreDump = 13,
}

/// `criu_req`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Request {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(message, optional, tag = "2")]
    pub(super) opts: Option<Opts>,
    #[prost(bool, optional, tag = "3")]
    pub(super) notify_success: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub(super) keep_open: Option<bool>,
}

/// `criu_resp`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Response {
    #[prost(enumeration = "Kind", required, tag = "1")]
    pub(super) kind: i32,
    #[prost(bool, required, tag = "2")]
    pub(super) success: bool,
    #[prost(message, optional, tag = "5")]
    pub(super) notify: Option<Notify>,
    #[prost(int32, optional, tag = "7")]
    pub(super) errno: Option<i32>,
    #[prost(string, optional, tag = "9")]
    pub(super) errmsg: Option<String>,
    #[prost(message, optional, tag = "10")]
    pub(super) version: Option<Version>,
}

/// `criu_notify`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Notify {
    #[prost(string, optional, tag = "1")]
    pub(super) script: Option<String>,
    #[prost(int32, optional, tag = "2")]
    pub(super) pid: Option<i32>,
}

/// `criu_version`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Version {
    #[prost(int32, required, tag = "1")]
    pub(super) major: i32,
    #[prost(int32, required, tag = "2")]
    pub(super) minor: i32,
}

/// `criu_cg_mode`: what becomes of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum CgroupMode {
    /// Nothing is written or restored.
    Ignore = 0,
    /// None is made; those that there are have to have the same properties.
    None = 1,
    /// None is made; properties are restored.
    Props = 2,
    /// Those that are missing are made, with their properties.
    Soft = 3,
    /// All are made or changed.
    Full = 4,
    /// All are made, and none may be there.
    Strict = 5,
}

/// `criu_network_lock_method`: how connections are kept still meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum NetworkLock {
    /// By the rules of iptables(8).
    Iptables = 1,
    /// By those of nft(8).
    Nftables = 2,
    /// Not at all.
    Skip = 3,
}

/// `criu_page_server_info`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PageServer {
    /// Its host.
    #[prost(string, optional, tag = "1")]
    pub address: Option<String>,
    /// Its port.
    #[prost(int32, optional, tag = "2")]
    pub port: Option<i32>,
}

/// `inherit_fd`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct InheritFd {
    /// What the image calls it.
    #[prost(string, required, tag = "1")]
    pub key: String,
    /// CRIU's descriptor.
    #[prost(int32, required, tag = "2")]
    pub fd: i32,
}

/// `cgroup_root`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct CgroupRoot {
    /// The hierarchy: empty for that of cgroup v2.
    #[prost(string, optional, tag = "1")]
    pub controller: Option<String>,
    /// From the hierarchy's root.
    #[prost(string, required, tag = "2")]
    pub path: String,
}

/// `join_namespace`
#[derive(Clone, PartialEq, Eq, Message)]
pub struct JoinNamespace {
    /// `ipc`, `uts`, `time`, `user`, `mnt`
    #[prost(string, required, tag = "1")]
    pub kind: String,
    /// Absolute.
    #[prost(string, required, tag = "2")]
    pub file: String,
}

/// `criu_opts`, by the names that they have there.
#[derive(Clone, PartialEq, Message)]
#[expect(missing_docs, reason = "criu(8) describes them")]
pub struct Opts {
    #[prost(int32, required, tag = "1")]
    pub images_dir_fd: i32,
    #[prost(int32, optional, tag = "2")]
    pub pid: Option<i32>,
    #[prost(bool, optional, tag = "3")]
    pub leave_running: Option<bool>,
    #[prost(bool, optional, tag = "4")]
    pub ext_unix_sk: Option<bool>,
    #[prost(bool, optional, tag = "5")]
    pub tcp_established: Option<bool>,
    #[prost(bool, optional, tag = "6")]
    pub evasive_devices: Option<bool>,
    #[prost(bool, optional, tag = "7")]
    pub shell_job: Option<bool>,
    #[prost(bool, optional, tag = "8")]
    pub file_locks: Option<bool>,
    #[prost(int32, optional, tag = "9")]
    pub log_level: Option<i32>,
    #[prost(string, optional, tag = "10")]
    pub log_file: Option<String>,
    #[prost(message, optional, tag = "11")]
    pub ps: Option<PageServer>,
    #[prost(bool, optional, tag = "12")]
    pub notify_scripts: Option<bool>,
    #[prost(string, optional, tag = "13")]
    pub root: Option<String>,
    #[prost(string, optional, tag = "14")]
    pub parent_img: Option<String>,
    #[prost(bool, optional, tag = "15")]
    pub track_mem: Option<bool>,
    #[prost(bool, optional, tag = "16")]
    pub auto_dedup: Option<bool>,
    #[prost(int32, optional, tag = "17")]
    pub work_dir_fd: Option<i32>,
    #[prost(bool, optional, tag = "18")]
    pub link_remap: Option<bool>,
    #[prost(message, repeated, tag = "25")]
    pub cg_root: Vec<CgroupRoot>,
    #[prost(bool, optional, tag = "26")]
    pub rst_sibling: Option<bool>,
    #[prost(message, repeated, tag = "27")]
    pub inherit_fd: Vec<InheritFd>,
    #[prost(bool, optional, tag = "29")]
    pub ext_sharing: Option<bool>,
    #[prost(bool, optional, tag = "30")]
    pub ext_masters: Option<bool>,
    #[prost(enumeration = "CgroupMode", optional, tag = "34")]
    pub manage_cgroups_mode: Option<i32>,
    #[prost(string, repeated, tag = "37")]
    pub external: Vec<String>,
    #[prost(uint32, optional, tag = "38")]
    pub empty_ns: Option<u32>,
    #[prost(message, repeated, tag = "39")]
    pub join_ns: Vec<JoinNamespace>,
    #[prost(string, optional, tag = "44")]
    pub freeze_cgroup: Option<String>,
    #[prost(bool, optional, tag = "46")]
    pub tcp_skip_in_flight: Option<bool>,
    #[prost(bool, optional, tag = "48")]
    pub lazy_pages: Option<bool>,
    #[prost(bool, optional, tag = "50")]
    pub orphan_pts_master: Option<bool>,
    #[prost(string, optional, tag = "51")]
    pub config_file: Option<String>,
    #[prost(bool, optional, tag = "52")]
    pub tcp_close: Option<bool>,
    #[prost(string, optional, tag = "53")]
    pub lsm_profile: Option<String>,
    #[prost(string, optional, tag = "60")]
    pub cgroup_yard: Option<String>,
    #[prost(string, optional, tag = "63")]
    pub lsm_mount_context: Option<String>,
    #[prost(enumeration = "NetworkLock", optional, tag = "64")]
    pub network_lock: Option<i32>,
}
