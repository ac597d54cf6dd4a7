// From the text of the configuration to settings, and the report of what is wrong with it: the
// reference's words, with the file and the line that the user wrote.
import Base
import Engine

/// Why the process has no settings.
package enum ConfigRefusal: Error {
    /// A file cannot be read: one line for the log.
    case unreadable(String)
    /// A directive is wrong: a report for standard error.
    case wrong(String)
}

package func loadSettings(_ options: LaunchOptions) throws(ConfigRefusal) -> Settings {
    let text: ConfigText
    do throws(ConfigText.Failure) {
        text = try ConfigText.read(options)
    } catch {
        throw .unreadable(error.text)
    }
    var settings = Settings()
    do throws(ConfigError) {
        try ConfigTable.load(text: text.text, file: options.configFile ?? "", into: &settings)
    } catch {
        let origin = text.origin(ofLine: error.line)
        throw .wrong(configReport(origin, line: error.text, reason: error.reason))
    }
    return settings
}

/// The configuration file itself, for CONFIG REWRITE: its absolute path and what it held.
struct ConfigFile {
    let path: String
    let contents: [UInt8]

    /// nil when the process runs without one.
    init?(_ options: LaunchOptions) throws(ConfigRefusal) {
        guard let file = options.configFile else { return nil }
        path = RestartPlan.absolute(file)
        do throws(SystemError) {
            contents = try Syscalls.contents(ofFile: file) ?? []
        } catch {
            throw .unreadable("Fatal error, can't open config file '\(file)': \(error.reason)")
        }
    }
}

/// The report on a wrong directive.
package func configReport(_ origin: ConfigText.Origin?, line: String, reason: String) -> String {
    var report = "\n*** FATAL CONFIG FILE ERROR (Redis \(Product.redisVersion)) ***\n"
    if let origin {
        report += "Reading the configuration file, at line \(origin.line) (\(origin.file))\n"
        report += ">>> '\(line)'\n"
    }
    return report + reason + "\n"
}
