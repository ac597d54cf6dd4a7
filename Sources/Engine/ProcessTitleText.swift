// The title of the process as `proc-title-template` describes it: words in braces stand for facts.

public enum ProcessTitleText {
    /// `template` with each `{name}` replaced by what `value` says; nil when a brace is not closed
    /// or `value` knows no such name.
    public static func expand(_ template: String, _ value: (String) -> String?) -> String? {
        var out = ""
        var rest = Substring(template)
        while let open = rest.firstIndex(of: "{") {
            out += rest[..<open]
            rest = rest[rest.index(after: open)...]
            guard let close = rest.firstIndex(of: "}"), let text = value(String(rest[..<close]))
            else { return nil }
            out += text
            rest = rest[rest.index(after: close)...]
        }
        // Words that stand for nothing leave no space at the end.
        out += rest
        while out.last == " " { out.removeLast() }
        return out
    }
}
