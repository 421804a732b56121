//! Splits a command as a shell would, for the quotes only: no variables, no globs, no pipes.

/// Why a text is not a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Unsplittable {
    /// A quote that is never closed.
    Open(char),
    /// A word that only a shell would understand.
    Shell(String),
}

const OPERATORS: &[&str] = &["|", "||", "&", "&&", ";", ">", ">>", "<", "2>", "2>&1", "&>"];

/// The words of a command. Single quotes keep everything, double quotes everything but `\"` and `\\`, a backslash the
/// next character.
pub(super) fn split(text: &str) -> Result<Vec<String>, Unsplittable> {
    let mut words = Vec::new();
    let mut word = String::new();
    // A word may be empty, as in `''`, so that having begun is not the same as having characters.
    let mut begun = false;
    let mut quoted = false;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                (begun, quoted) = (true, true);
                loop {
                    match chars.next() {
                        None => return Err(Unsplittable::Open(c)),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match chars.next() {
                            Some(next @ ('"' | '\\')) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => return Err(Unsplittable::Open(c)),
                        },
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => {
                (begun, quoted) = (true, true);
                word.extend(chars.next());
            }
            c if c.is_whitespace() => end(&mut words, &mut word, &mut begun, &mut quoted)?,
            c => {
                begun = true;
                word.push(c);
            }
        }
    }
    end(&mut words, &mut word, &mut begun, &mut quoted)?;
    Ok(words)
}

fn end(words: &mut Vec<String>, word: &mut String, begun: &mut bool, quoted: &mut bool) -> Result<(), Unsplittable> {
    if *begun {
        let whole = std::mem::take(word);
        if !*quoted && OPERATORS.contains(&whole.as_str()) {
            return Err(Unsplittable::Shell(whole));
        }
        words.push(whole);
    }
    (*begun, *quoted) = (false, false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_would() {
        for (text, words) in [
            ("", &[] as &[&str]),
            ("  ./shop  --port $PORT ", &["./shop", "--port", "$PORT"]),
            (r#"sh -c 'echo "a  b"' "#, &["sh", "-c", r#"echo "a  b""#]),
            (r#"a"b c"d '' \ e "q\"\\\n""#, &["ab cd", "", " e", r#"q"\\n"#]),
            ("echo '|' \"&&\"", &["echo", "|", "&&"]),
            ("naïve “quotes”", &["naïve", "“quotes”"]),
        ] {
            assert_eq!(split(text).unwrap(), words, "{text}");
        }
    }

    #[test]
    fn what_needs_a_shell_is_told_apart() {
        assert_eq!(split("a 'b"), Err(Unsplittable::Open('\'')));
        assert_eq!(split("a \"b\\"), Err(Unsplittable::Open('"')));
        assert_eq!(split("a | b"), Err(Unsplittable::Shell("|".into())));
    }
}
