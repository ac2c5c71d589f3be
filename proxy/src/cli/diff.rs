//! `weir diff`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::source::Source;
use super::{Error, complain};
use crate::discovery::Discovered;
use crate::reload::{Changes, refusal};

/// Exit code when something changes; 0 when nothing does.
const CHANGES: u8 = 1;

/// Exit code when that cannot be told, as with `diff`.
const TROUBLE: u8 = 2;

#[derive(Args)]
pub(super) struct Diff {
    /// The configuration that is served.
    old: PathBuf,
    /// The one that is to be.
    new: PathBuf,
    /// Print everything, what is kept included, as JSON.
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub(super) fn execute(self) -> ExitCode {
        match self.changes() {
            Ok(false) => ExitCode::SUCCESS,
            Ok(true) => CHANGES.into(),
            Err(error) => {
                complain(&error);
                TROUBLE.into()
            }
        }
    }

    /// Prints the changes; whether there are any.
    fn changes(self) -> Result<bool, Error> {
        let nothing = Discovered::default();
        let before = Source::of_file(self.old).load(&nothing, None, &mut Vec::new())?;
        let (old_config, old) = before;
        let now = Source::of_file(self.new).load(&nothing, Some(&old), &mut Vec::new())?;
        let (new_config, new) = now;
        let changes = Changes::between(&old, &new);
        let refused = refusal(&old_config, &new_config).or_else(|| new.refusal(&old));
        if self.json {
            let mut json = changes.to_json();
            json["refused"] = json!(refused);
            println!("{json:#}");
        } else {
            if let Some(refused) = &refused {
                println!("! a reload would be refused: {refused}");
            }
            print!("{changes}");
            if refused.is_none() && changes.is_empty() {
                println!("nothing changes");
            }
        }
        Ok(refused.is_some() || !changes.is_empty())
    }
}
