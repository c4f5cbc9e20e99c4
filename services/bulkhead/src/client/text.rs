//! Text that somebody else wrote, made fit for a terminal.
//!
//! Names, contents, arguments and messages come from models, files and other people. Whatever goes to a
//! terminal passes [`harmless`], so that nothing in it can move the cursor, rewrite what stands there, or look
//! like what it is not.

/// The line with everything spelt out that could make a terminal show something else than what would happen:
/// control characters, characters that reorder or hide text, and trailing blanks.
pub(crate) fn harmless(line: &str) -> String {
    let shown = line.trim_end_matches([' ', '\t']);
    let mut text = String::with_capacity(line.len());
    for character in shown.chars() {
        spell(character, &mut text);
    }
    text.extend(line[shown.len()..].chars().map(|blank| if blank == '\t' { '→' } else { '·' }));
    text
}

/// Many lines, each harmless and behind `indent`.
pub(crate) fn block(text: &str, indent: &str) -> String {
    // Not `lines()`, which would hide a carriage return.
    text.split_terminator('\n').map(|line| format!("{indent}{}\n", harmless(line))).collect()
}

/// A piece of a text that comes piece by piece, harmless. Its line ends stand, and so do blanks: whether one trails is
/// not known before the next piece.
pub(crate) fn flowing(piece: &str) -> String {
    let mut text = String::with_capacity(piece.len());
    for character in piece.chars() {
        match character {
            '\n' => text.push(character),
            _ => spell(character, &mut text),
        }
    }
    text
}

/// One line of at most `characters_max` characters, for a cell or a line of progress. Only where the whole
/// stands elsewhere.
pub(crate) fn short(text: &str, characters_max: usize) -> String {
    let line = harmless(text);
    if line.chars().count() <= characters_max {
        return line;
    }
    let mut cut: String = line.chars().take(characters_max.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// JSON that no terminal can take for anything else: what RFC 8259 lets stand unescaped inside strings and a
/// terminal may act on is escaped, which changes no value.
pub(crate) fn harmless_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if misleads(character) && !matches!(character, '\n' | '\t') {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                text += &format!("\\u{unit:04x}");
            }
        } else {
            text.push(character);
        }
    }
    text
}

fn spell(character: char, text: &mut String) {
    if misleads(character) && character != '\t' {
        *text += &format!("<U+{:04X}>", u32::from(character));
    } else {
        text.push(character);
    }
}

/// Control characters (ESC and the C1 set among them), and what Unicode calls default ignorable: marks that
/// reorder, join or hide. Hiding is how an instruction is smuggled past the person who approves it.
fn misleads(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mislead_a_reader_is_spelt_out() {
        let table = [
            ("+plain\ttext é", "+plain\ttext é"),
            ("+a\u{202e}b", "+a<U+202E>b"),
            ("+a\u{200b}", "+a<U+200B>"),
            ("+a\r", "+a<U+000D>"),
            ("+\u{1b}[2Jgone", "+<U+001B>[2Jgone"),
            ("+\u{9b}2Jgone", "+<U+009B>2Jgone"),
            ("+\u{e0041}tag", "+<U+E0041>tag"),
            ("+a \t", "+a·→"),
            ("", ""),
        ];
        for (line, shown) in table {
            assert_eq!(harmless(line), shown);
        }
    }

    #[test]
    fn a_block_keeps_every_line_and_shows_carriage_returns() {
        assert_eq!(block("one\r\n\ntwo", "  "), "  one<U+000D>\n  \n  two\n");
    }

    #[test]
    fn a_piece_keeps_line_ends_and_blanks_and_nothing_that_a_terminal_acts_on() {
        assert_eq!(flowing("one \n\ttwo \r\u{1b}[2J "), "one \n\ttwo <U+000D><U+001B>[2J ");
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(short("abcdef", 6), "abcdef");
        assert_eq!(short("abcdefg", 6), "abcde…");
        assert_eq!(short("a\nb", 20), "a<U+000A>b");
    }

    #[test]
    fn json_stays_the_same_value_and_holds_nothing_that_a_terminal_acts_on() -> Result<(), serde_json::Error>
    {
        let value = serde_json::json!({ "a": "x\u{9b}2J\u{202e}\u{e0041}\u{7f}é" });
        let printed = harmless_json(&serde_json::to_string_pretty(&value)?);
        assert!(!printed.chars().any(|character| misleads(character) && character != '\n'), "{printed}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&printed)?, value);
        Ok(())
    }
}
