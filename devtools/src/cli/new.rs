//! `weir filter new`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::scaffold::{self, Commands, Language};

#[derive(Debug, Args)]
#[allow(missing_docs)] // The command's own words would be lost.
pub struct New {
    /// The language that it is written in.
    #[arg(long, value_enum)]
    lang: Lang,
    /// Its name, as `my-filter`: small letters, digits and hyphens.
    name: String,
    /// The folder that is made; its name by default.
    #[arg(long, value_name = "FOLDER")]
    path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Lang {
    Rust,
    Go,
    #[value(name = "assemblyscript")]
    AssemblyScript,
    C,
    Zig,
}

impl New {
    pub(super) fn execute(self) -> Result<ExitCode, String> {
        let language = match self.lang {
            Lang::Rust => Language::Rust,
            Lang::Go => Language::Go,
            Lang::AssemblyScript => Language::AssemblyScript,
            Lang::C => Language::C,
            Lang::Zig => Language::Zig,
        };
        let folder = self.path.unwrap_or_else(|| PathBuf::from(&self.name));
        let Commands { build, test, run } = scaffold::create(language, &self.name, &folder)?;
        println!("made {}; to build, test and run it:\n", folder.display());
        println!("    cd {}", folder.display());
        for command in build.iter().chain([&test, &run]) {
            println!("    {command}");
        }
        println!("\nand ask it: curl -i http://127.0.0.1:10000/");
        Ok(ExitCode::SUCCESS)
    }
}
