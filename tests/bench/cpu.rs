//! Processor time, as /proc counts it.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

/// USER_HZ, which is 100 on every architecture of Linux that anybody runs.
const TICK: Duration = Duration::from_millis(10);

/// What a PostgreSQL server has used: its postmaster, all of its processes, and those that have ended.
pub(crate) fn of_family(parent: u32) -> Result<Duration> {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        // It may have ended since; then it counts among its parent's children below.
        let Ok(stat) = Stat::read(pid) else { continue };
        if pid == parent {
            ticks += stat.own + stat.ended_children;
        } else if stat.parent == parent {
            ticks += stat.own;
        }
    }
    Ok(TICK * ticks)
}

/// What the ended children of this process have used.
pub(crate) fn of_children() -> Result<Duration> {
    Ok(TICK * Stat::read(std::process::id())?.ended_children)
}

/// What another process has used.
pub(crate) fn of(pid: u32) -> Result<Duration> {
    Ok(TICK * Stat::read(pid)?.own)
}

struct Stat {
    parent: u32,
    own: u32,
    ended_children: u32,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // The second field is the program's name in parentheses, which may hold anything.
        let (_, rest) = text
            .rsplit_once(") ")
            .context("a stat file names its program")?;
        let fields: Vec<_> = rest.split(' ').collect();
        let number = |index: usize| -> Result<u32> {
            let field = fields.get(index).context("a stat file has 52 fields")?;
            Ok(field.parse()?)
        };
        Ok(Self {
            parent: number(1)?,
            own: number(11)? + number(12)?,
            ended_children: number(13)? + number(14)?,
        })
    }
}
