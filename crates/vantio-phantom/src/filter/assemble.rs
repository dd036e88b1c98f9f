//! Classic BPF from rules: a balanced search over the numbers, so that any call
//! is classified in about eight comparisons.

use super::{Action, Condition, Rule};
use crate::sys::seccomp::Instruction;

/// A filter over `rules`, which are sorted by number; numbers without a rule fail
/// with `ENOSYS`.
pub(super) fn assemble(rules: &[Rule]) -> Vec<Instruction> {
    let mut program = vec![
        load(ARCHITECTURE),
        jump(libc::BPF_JEQ, AUDIT_ARCH_X86_64, 1, 0),
        action(Action::Notify),
        load(NUMBER),
        jump(libc::BPF_JGE, X32_BIT, 0, 1),
        action(Action::Notify),
    ];
    program.extend(search(rules));
    program
}

fn search(rules: &[Rule]) -> Vec<Instruction> {
    // A run of neighbours with one plain action is one comparison, not many.
    if let Some(plain) = uniform(rules) {
        return vec![action(plain)];
    }
    if let [rule] = rules {
        return leaf(rule);
    }
    let (low, high) = rules.split_at(rules.len() / 2);
    let (low, pivot) = (search(low), high.first().map_or(0, |rule| rule.number));
    let mut program = vec![jump(libc::BPF_JGE, pivot, 0, 1), skip(low.len())];
    program.extend(low);
    program.extend(search(high));
    program
}

fn uniform(rules: &[Rule]) -> Option<Action> {
    let first = rules.first()?;
    let same = |rule: &Rule| rule.branches.is_empty() && rule.otherwise == first.otherwise;
    rules.iter().all(same).then_some(first.otherwise)
}

fn leaf(rule: &Rule) -> Vec<Instruction> {
    let mut program = Vec::new();
    for (condition, outcome) in &rule.branches {
        match *condition {
            Condition::AnyBit(index, mask) => {
                program.extend([load(argument(index)), jump(libc::BPF_JSET, mask, 0, 1)]);
            }
            Condition::Equals(index, value) => {
                program.extend([load(argument(index)), jump(libc::BPF_JEQ, value, 0, 1)]);
            }
            Condition::NonZero(index) => program.extend([
                load(argument(index)),
                jump(libc::BPF_JEQ, 0, 0, 2),
                load(argument(index) + 4),
                jump(libc::BPF_JEQ, 0, 1, 0),
            ]),
            Condition::Neither(index, [one, other]) => program.extend([
                load(argument(index)),
                jump(libc::BPF_JEQ, one, 2, 0),
                jump(libc::BPF_JEQ, other, 1, 0),
            ]),
        }
        program.push(action(*outcome));
    }
    program.push(action(rule.otherwise));
    program
}

fn action(action: Action) -> Instruction {
    let value = match action {
        Action::Allow => libc::SECCOMP_RET_ALLOW,
        Action::Notify => libc::SECCOMP_RET_USER_NOTIF,
        Action::Fail(errno) => libc::SECCOMP_RET_ERRNO | errno as u32,
    };
    Instruction { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: value }
}

fn load(offset: u32) -> Instruction {
    Instruction { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: offset }
}

fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> Instruction {
    Instruction { code: (libc::BPF_JMP | test | libc::BPF_K) as u16, jt: if_true, jf: if_false, k: value }
}

/// With the preceding comparison: when it holds, jump over `length` instructions.
fn skip(length: usize) -> Instruction {
    Instruction { code: (libc::BPF_JMP | libc::BPF_JA) as u16, jt: 0, jf: 0, k: length as u32 }
}

/// Offset of the lower half of an argument in `struct seccomp_data`.
fn argument(index: usize) -> u32 {
    16 + 8 * index as u32
}

const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const AUDIT_ARCH_X86_64: u32 = 0xc000_003e;
const X32_BIT: u32 = 0x4000_0000;

#[cfg(test)]
mod tests {
    use super::{
        super::{Run, table},
        *,
    };

    /// Runs `program` as the kernel would.
    fn run(program: &[Instruction], architecture: u32, number: u32, arguments: [u64; 6]) -> u32 {
        let word = |offset: u32| match offset {
            NUMBER => number,
            ARCHITECTURE => architecture,
            other => {
                let (index, high) = ((other as usize - 16) / 8, other % 8 == 4);
                (arguments[index] >> if high { 32 } else { 0 }) as u32
            }
        };
        let (mut at, mut value) = (0, 0);
        loop {
            let step = program[at];
            at += 1;
            let code = u32::from(step.code);
            match code & 7 {
                libc::BPF_LD => value = word(step.k),
                libc::BPF_RET => return step.k,
                _ if code == libc::BPF_JMP | libc::BPF_JA => at += step.k as usize,
                _ => {
                    let holds = match code & 0xf0 {
                        libc::BPF_JEQ => value == step.k,
                        libc::BPF_JGE => value >= step.k,
                        _ => value & step.k != 0,
                    };
                    at += usize::from(if holds { step.jt } else { step.jf });
                }
            }
        }
    }

    #[test]
    fn every_number_gets_the_action_of_its_rule() {
        for (tracks_flows, forks) in [(false, false), (true, false), (false, true)] {
            for root in [None, Some((0, 0))] {
                check_actions(Run { tracks_flows, forks, root, mask: 0o22 });
            }
        }
    }

    fn check_actions(run_of: Run) {
        let rules = table::rules(run_of);
        let program = assemble(&rules);
        for rule in &rules {
            let mut arguments = [0; 6];
            let verdict = run(&program, AUDIT_ARCH_X86_64, rule.number, arguments);
            let holds = |condition: &Condition, arguments: &[u64; 6]| match *condition {
                Condition::AnyBit(index, mask) => arguments[index] as u32 & mask != 0,
                Condition::Equals(index, value) => arguments[index] as u32 == value,
                Condition::NonZero(index) => arguments[index] != 0,
                Condition::Neither(index, values) => !values.contains(&(arguments[index] as u32)),
            };
            let expected = |arguments: &[u64; 6]| {
                let branch = rule.branches.iter().find(|(condition, _)| holds(condition, arguments));
                action(branch.map_or(rule.otherwise, |(_, action)| *action)).k
            };
            assert_eq!(verdict, expected(&arguments), "{}", rule.number);
            for (condition, _) in &rule.branches {
                match *condition {
                    Condition::AnyBit(index, mask) => arguments[index] = u64::from(mask),
                    Condition::Equals(index, value) => arguments[index] = u64::from(value),
                    Condition::NonZero(index) => arguments[index] = 1 << 40,
                    Condition::Neither(index, _) => arguments[index] = 1000,
                }
                let verdict = run(&program, AUDIT_ARCH_X86_64, rule.number, arguments);
                assert_eq!(verdict, expected(&arguments), "{} with {condition:?}", rule.number);
            }
        }
    }

    #[test]
    fn nobody_is_told_of_a_change_of_identity_that_changes_nothing() {
        let verdict = |root, number: i64, arguments: [u64; 6]| {
            let rules = table::rules(Run { tracks_flows: false, forks: false, root, mask: 0o22 });
            run(&assemble(&rules), AUDIT_ARCH_X86_64, number as u32, arguments)
        };
        let (allow, notify) = (action(Action::Allow).k, action(Action::Notify).k);
        let (root, same) = (Some((0, 100)), u64::from(u32::MAX));
        assert_eq!(verdict(root, libc::SYS_setresuid, [same, 0, same, 0, 0, 0]), allow);
        assert_eq!(verdict(root, libc::SYS_setresgid, [100, same, 100, 0, 0, 0]), allow);
        assert_eq!(verdict(root, libc::SYS_setresgid, [same, 0, same, 0, 0, 0]), notify);
        assert_eq!(verdict(root, libc::SYS_setresuid, [same, same, 1000, 0, 0, 0]), notify);
        assert_eq!(verdict(root, libc::SYS_setfsuid, [1, 0, 0, 0, 0, 0]), notify);
        for number in [libc::SYS_setgroups, libc::SYS_capset] {
            assert_eq!(verdict(root, number, [0; 6]), notify);
            assert_eq!(verdict(None, number, [0; 6]), allow, "who is no root stays who it is");
        }
        assert_eq!(verdict(None, libc::SYS_setuid, [1, 0, 0, 0, 0, 0]), allow);
        assert_eq!(verdict(None, libc::SYS_umask, [0o22, 0, 0, 0, 0, 0]), allow);
        assert_eq!(verdict(None, libc::SYS_umask, [0o27, 0, 0, 0, 0, 0]), notify);
    }

    #[test]
    fn other_architectures_and_unknown_numbers_never_pass() {
        let run_of = Run { tracks_flows: true, forks: false, root: Some((0, 0)), mask: 0 };
        let program = assemble(&table::rules(run_of));
        assert_eq!(run(&program, 0x4000_0003, 1, [0; 6]), libc::SECCOMP_RET_USER_NOTIF);
        assert_eq!(run(&program, AUDIT_ARCH_X86_64, X32_BIT | 1, [0; 6]), libc::SECCOMP_RET_USER_NOTIF);
        for number in [470, 5000, 0x3fff_ffff] {
            let verdict = run(&program, AUDIT_ARCH_X86_64, number, [0; 6]);
            assert_eq!(verdict, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32, "{number}");
        }
        assert!(program.len() < 4096, "the kernel takes at most 4,096 instructions");
    }
}
