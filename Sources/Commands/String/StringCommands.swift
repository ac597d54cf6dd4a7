// The string group.
import Engine

extension Extension {
    /// GET, SET and everything else about string values but bits.
    public static let strings = Extension("string") { registry in
        registry.group = .string
        registry.registerGetCommands()
        registry.registerSetCommands()
        registry.registerGetAndChangeCommands()
        registry.registerCounterCommands()
        registry.registerEditCommands()
        registry.registerLCSCommand()
    }
}
