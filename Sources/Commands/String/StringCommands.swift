// The string group: everything that reads or writes a string value, except for the bit commands,
// which are a group of their own.
import Engine

extension Extension {
    /// GET, SET and everything else about string values but bits.
    public static let strings = Extension("string") { registry in
        registry.group = .string
        registry.registerGetCommands()
        registry.registerSetCommands()
        registry.registerSetAllCommands()
        registry.registerGetAndChangeCommands()
        registry.registerCounterCommands()
        registry.registerEditCommands()
        registry.registerLCSCommand()
    }
}
