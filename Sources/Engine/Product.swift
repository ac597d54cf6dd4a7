// Who we are, and whom clients may take us for.

public enum Product {
    public static let name: StaticString = "Martlet"
    public static let version: StaticString = "0.1.0"
    /// The version of the protocol and command set that we follow; clients decide by it.
    public static let redisVersion: StaticString = "7.0.15"
}
