//! Which system calls are refused: seccomp. A list of what is denied, not of what is allowed: an
//! allow-list made on one libc and kernel breaks on the next one, at three in the morning, while each
//! call below is one that no server has a use for, on any of them.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp,
    SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

use crate::Absent;

/// Who is restricted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// The server: it starts no program any more.
    Server,
    /// What starts the processes of HSM libraries, and these.
    Launcher,
}

/// What concerns the machine as a whole, other processes' memory, or who we are.
const MACHINE: &[i64] = &[
    // Other processes.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // Where files are.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_quotactl,
    libc::SYS_acct,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_personality,
    // The clock and the name of the machine.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
];

/// The same where only x86 has it.
#[cfg(target_arch = "x86_64")]
const MACHINE_OF_X86: &[i64] =
    &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, libc::SYS_uselib, libc::SYS_ustat];
#[cfg(not(target_arch = "x86_64"))]
const MACHINE_OF_X86: &[i64] = &[];

/// What a server has no use for, but a maker's library might.
const SERVER: &[i64] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_mknodat,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
];

#[cfg(target_arch = "x86_64")]
const SERVER_OF_X86: &[i64] = &[libc::SYS_fork, libc::SYS_vfork, libc::SYS_mknod];
#[cfg(not(target_arch = "x86_64"))]
const SERVER_OF_X86: &[i64] = &[];

/// A second way to all calls of x86-64, the ABI x32: the same numbers with this bit, and some of its
/// own (execve, ptrace, process_vm_readv, process_vm_writev, kexec_load, execveat).
#[cfg(target_arch = "x86_64")]
const X32: (i64, &[i64]) = (0x4000_0000, &[520, 521, 528, 539, 540, 545]);

/// The same on all processors that there is a filter for; libc's constant has a type for each libc.
const TIOCSTI: u64 = 0x5412;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Restricts the calling thread, and those that it will start.
pub(crate) fn deny(who: Who) -> Result<(), Absent> {
    let target = TargetArch::try_from(std::env::consts::ARCH);
    let target = target.map_err(|_unknown| Absent::Processor)?;
    let no_permission = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let rules = rules(who).map_err(failed)?;
    install(rules, no_permission, target)?;
    if who == Who::Server {
        // Its flags lie in memory, where no filter sees them. libc then takes clone.
        let absent = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
        install(every(&[libc::SYS_clone3]), absent, target)?;
    }
    Ok(())
}

fn install(rules: Rules, action: SeccompAction, target: TargetArch) -> Result<(), Absent> {
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, target).map_err(failed)?;
    let program = BpfProgram::try_from(filter).map_err(failed)?;
    apply_filter(&program).map_err(Absent::Filter)
}

fn failed(error: BackendError) -> Absent {
    Absent::Filter(Error::Backend(error))
}

fn rules(who: Who) -> Result<Rules, BackendError> {
    let mut rules = every(MACHINE);
    rules.extend(every(MACHINE_OF_X86));
    if who == Who::Server {
        rules.extend(every(SERVER));
        rules.extend(every(SERVER_OF_X86));
        rules.insert(libc::SYS_clone, vec![new_process()?]);
        rules.insert(libc::SYS_ioctl, vec![terminal_input()?]);
    }
    #[cfg(target_arch = "x86_64")]
    let rules = with_x32(rules, who);
    Ok(rules)
}

fn every(calls: &[i64]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

#[cfg(target_arch = "x86_64")]
fn with_x32(rules: Rules, who: Who) -> Rules {
    let (bit, own) = X32;
    let starts_programs = |call: &i64| [520, 545].contains(call);
    let own = own.iter().filter(|call| who == Who::Server || !starts_programs(call));
    let same = rules.clone().into_iter().map(|(call, rule)| (call | bit, rule));
    let own = own.map(|call| (*call | bit, Vec::new()));
    same.chain(own).chain(rules).collect()
}

/// `clone` that makes no thread of this process.
fn new_process() -> Result<SeccompRule, BackendError> {
    let thread = u64::from(libc::CLONE_THREAD.unsigned_abs());
    let is = SeccompCmpOp::MaskedEq(thread);
    SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Qword, is, 0)?])
}

/// Typing into somebody's terminal.
fn terminal_input() -> Result<SeccompRule, BackendError> {
    let is = SeccompCondition::new(1, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, TIOCSTI)?;
    SeccompRule::new(vec![is])
}
