//! Templates of paths, such as `/users/{id}/**`: Envoy's
//! `path.match.uri_template.v3`.

/// What one segment consists of: the characters of a path but the slash (RFC 3986).
const SEGMENT: &str = "[-A-Za-z0-9._~%!$&'()+,;:@=]";

/// A template, as a regular expression.
#[derive(Debug, PartialEq, Eq)]
pub struct PathTemplate {
    /// For the whole path; its groups are the variables.
    pub regex: String,
    /// Names, in the order of the groups.
    pub variables: Vec<String>,
}

/// Why a text is no template.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    /// It does not start with a slash.
    #[error("a template starts with `/`")]
    Start,
    /// Something stands where nothing may.
    #[error("`{0}` cannot stand in a segment of a template")]
    Segment(String),
    /// Something follows `**`.
    #[error("`**` is the last segment of a template")]
    Rest,
    /// A brace has no other one.
    #[error("a variable is written `{{name}}` or `{{name=pattern}}`")]
    Braces,
    /// A name that is none.
    #[error("`{0}` is not the name of a variable")]
    Name(String),
    /// A name that is there already.
    #[error("the variable `{0}` is there twice")]
    Twice(String),
    /// A rewrite names what there is not.
    #[error("there is no variable `{0}` in the template of the path")]
    Unknown(String),
}

impl PathTemplate {
    /// Reads `/a/*/{name}/{rest=**}`: `*` stands for one segment, `**` for any number of
    /// them at the end.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let mut template = Self {
            regex: String::new(),
            variables: Vec::new(),
        };
        let mut rest = text
            .strip_prefix('/')
            .ok_or(PathTemplateError::Start)
            .map(Some)?;
        while let Some(text) = rest {
            if template.regex.ends_with("]*") || template.regex.ends_with("]*)") {
                return Err(PathTemplateError::Rest);
            }
            template.regex.push('/');
            rest = template.segment(text)?;
        }
        Ok(template)
    }

    /// One segment; gives what follows its slash.
    fn segment<'t>(&mut self, text: &'t str) -> Result<Option<&'t str>, PathTemplateError> {
        let Some(inner) = text.strip_prefix('{') else {
            let (segment, rest) = match text.split_once('/') {
                Some((segment, rest)) => (segment, Some(rest)),
                None => (text, None),
            };
            self.regex.push_str(&piece(segment)?);
            return Ok(rest);
        };
        let (inner, behind) = inner.split_once('}').ok_or(PathTemplateError::Braces)?;
        let (name, pattern) = inner.split_once('=').unwrap_or((inner, "*"));
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty()
            || !name.chars().all(is_name)
            || name.starts_with(|c: char| c.is_ascii_digit())
        {
            return Err(PathTemplateError::Name(name.to_owned()));
        }
        if self.variables.iter().any(|known| known == name) {
            return Err(PathTemplateError::Twice(name.to_owned()));
        }
        let pieces = pattern.split('/').map(piece);
        let pieces = pieces.collect::<Result<Vec<_>, _>>()?;
        self.variables.push(name.to_owned());
        self.regex.push_str(&format!("({})", pieces.join("/")));
        match behind.strip_prefix('/') {
            Some(rest) => Ok(Some(rest)),
            None if behind.is_empty() => Ok(None),
            None => Err(PathTemplateError::Segment(behind.to_owned())),
        }
    }

    /// The path that `rewrite`, a text with variables of this template, stands for: with
    /// `\1` in the place of the first.
    ///
    /// # Errors
    /// When it names what there is not.
    pub fn substitution(&self, rewrite: &str) -> Result<String, PathTemplateError> {
        if !rewrite.starts_with('/') {
            return Err(PathTemplateError::Start);
        }
        let mut out = String::new();
        let mut rest = rewrite;
        while let Some((text, behind)) = rest.split_once('{') {
            out.push_str(&text.replace('\\', "\\\\"));
            let (name, behind) = behind.split_once('}').ok_or(PathTemplateError::Braces)?;
            let place = self.variables.iter().position(|known| known == name);
            let place = place.ok_or_else(|| PathTemplateError::Unknown(name.to_owned()))?;
            out.push_str(&format!("\\{}", place + 1));
            rest = behind;
        }
        out.push_str(&rest.replace('\\', "\\\\"));
        Ok(out)
    }
}

fn piece(text: &str) -> Result<String, PathTemplateError> {
    match text {
        "*" => Ok(format!("{SEGMENT}+")),
        "**" => Ok(format!("{}/]*", SEGMENT.trim_end_matches(']'))),
        _ if text.contains(['*', '{', '}', '?', '#']) => {
            Err(PathTemplateError::Segment(text.to_owned()))
        }
        _ => Ok(regex::escape(text)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(template: &str, path: &str) -> Option<Vec<String>> {
        let template = PathTemplate::parse(template).unwrap_or_else(|e| panic!("{e}"));
        let regex = regex::Regex::new(&format!("^(?:{})$", template.regex));
        let found = regex.unwrap_or_else(|e| panic!("{e}")).captures(path)?;
        let text = |g: Option<regex::Match<'_>>| g.map_or("", |m| m.as_str()).to_owned();
        Some(found.iter().skip(1).map(text).collect())
    }

    #[test]
    fn segments_match_and_variables_are_found() {
        let none = Some(Vec::new());
        assert_eq!(groups("/a/*/c", "/a/b/c"), none);
        assert_eq!(groups("/a/*/c", "/a//c"), None);
        assert_eq!(groups("/a/*/c", "/a/b/b/c"), None);
        assert_eq!(groups("/a.b", "/axb"), None);
        assert_eq!(groups("/a/**", "/a/b/c"), none);
        assert_eq!(groups("/a/**", "/a/"), none);
        assert_eq!(groups("/a/**", "/a"), None);
        let both = Some(vec!["7".to_owned(), "x/y".to_owned()]);
        assert_eq!(groups("/u/{id}/{rest=**}", "/u/7/x/y"), both);
        let version = Some(vec!["v1/b".to_owned()]);
        assert_eq!(groups("/{v=v1/*}/x", "/v1/b/x"), version);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use PathTemplateError as E;
        let fails = |text: &str| PathTemplate::parse(text).err();
        assert_eq!(fails("a"), Some(E::Start));
        assert_eq!(fails("/a*"), Some(E::Segment("a*".to_owned())));
        assert_eq!(fails("/**/a"), Some(E::Rest));
        assert_eq!(fails("/{a=**}/b"), Some(E::Rest));
        assert_eq!(fails("/{a"), Some(E::Braces));
        assert_eq!(fails("/{1}"), Some(E::Name("1".to_owned())));
        assert_eq!(fails("/{a}/{a}"), Some(E::Twice("a".to_owned())));
        assert_eq!(fails("/{a}b"), Some(E::Segment("b".to_owned())));
    }

    #[test]
    fn rewrites_name_variables() {
        let template = PathTemplate::parse("/u/{id}/{rest=**}");
        let template = template.unwrap_or_else(|e| panic!("{e}"));
        let rewritten = template.substitution("/x\\/{rest}/{id}");
        assert_eq!(rewritten, Ok("/x\\\\/\\2/\\1".to_owned()));
        let unknown = PathTemplateError::Unknown("no".to_owned());
        assert_eq!(template.substitution("/{no}"), Err(unknown));
    }
}
