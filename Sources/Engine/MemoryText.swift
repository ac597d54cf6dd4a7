// Amounts of memory as people write them: `512mb` in a configuration, `1.50M` in INFO.
import Base

public enum MemoryText {
    /// Bytes from `100`, `1k` (1000), `1kb` (1024), `2gb`, …; nil when it is none, or too much.
    public static func bytes(_ text: String) -> Int? {
        let digits = text.prefix { $0 >= "0" && $0 <= "9" }
        let unit: Int
        switch text.dropFirst(digits.count).lowercased() {
        case "", "b": unit = 1
        case "k": unit = 1000
        case "kb": unit = 1 << 10
        case "m": unit = 1_000_000
        case "mb": unit = 1 << 20
        case "g": unit = 1_000_000_000
        case "gb": unit = 1 << 30
        default: return nil
        }
        guard !digits.isEmpty, digits.count < 20, let count = Int(digits) else { return nil }
        let (value, overflow) = count.multipliedReportingOverflow(by: unit)
        return overflow ? nil : value
    }

    /// The shortest exact form for a configuration file: `1gb`, `1500`.
    public static func configuration(_ bytes: Int) -> String {
        for (unit, name) in [(1 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")]
        where bytes != 0 && bytes % unit == 0 {
            return "\(bytes / unit)\(name)"
        }
        return String(bytes)
    }

    /// The rounded form of INFO: `812B`, `1.50M`.
    public static func human(_ bytes: Int) -> String {
        let value = Double(bytes)
        for (unit, name) in [(1.0, "B"), (1024, "K"), (1_048_576, "M"), (1_073_741_824, "G")]
        where value < unit * 1024 {
            return unit == 1 ? "\(bytes)B" : fixed(value / unit, 2) + name
        }
        return fixed(value / 1_099_511_627_776, 2) + "T"
    }

    /// A number with so many decimals.
    public static func fixed(_ value: Double, _ decimals: Int) -> String {
        guard value.isFinite, abs(value) < 1e15 else { return formatDouble(value) }
        var scale = 1
        for _ in 0..<decimals { scale *= 10 }
        let scaled = Int64((abs(value) * Double(scale)).rounded())
        let sign = value < 0 && scaled != 0 ? "-" : ""
        guard decimals > 0 else { return "\(sign)\(scaled)" }
        let fraction = String(scaled % Int64(scale))
        let zeros = String(repeating: "0", count: decimals - fraction.count)
        return "\(sign)\(scaled / Int64(scale)).\(zeros)\(fraction)"
    }
}
