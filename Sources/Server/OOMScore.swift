// oom-score-adj: how willingly the kernel ends this process when memory runs out. While it is on,
// the score follows the role; switched off, the process gets back what it had before.
import Base
import Engine

struct OOMScore {
    private static let path = "/proc/self/oom_score_adj"
    /// The score before we changed it; nil while we have not.
    private var original: Int?

    /// Brings the score in line with the settings. Returns what went wrong.
    mutating func apply(_ settings: Settings, isReplica: Bool) -> String? {
        let mode = settings.oomScoreAdjust
        guard mode != "no" else {
            guard let original else { return nil }
            self.original = nil
            return Self.write(original)
        }
        let before: Int
        if let original {
            before = original
        } else {
            guard let found = Self.read() else { return "\(Self.path) cannot be read" }
            before = found
        }
        var score = settings.oomScoreValues[isReplica ? 1 : 0]
        if mode != "absolute" { score += before }
        let failure = Self.write(max(-1000, min(1000, score)))
        if failure == nil { original = before }
        return failure
    }

    private static func read() -> Int? {
        do {
            let text = try Syscalls.contents(ofFile: path) ?? []
            return Int(String(decoding: text, as: UTF8.self).filter { !$0.isWhitespace })
        } catch {
            return nil
        }
    }

    private static func write(_ score: Int) -> String? {
        do {
            try Syscalls.overwrite(path, with: Array("\(score)\n".utf8))
            return nil
        } catch {
            return error.text
        }
    }
}
