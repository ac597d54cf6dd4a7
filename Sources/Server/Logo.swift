// The picture at the top of a log, shown on terminals or with `always-show-logo`. The line with
// `PID:` is what start scripts and the public test suite wait for.
import Engine

enum Logo {
    static func text(mode: String, port: Int, pid: Int32) -> String {
        """

                 __
               <(o )___             Martlet (Redis \(Product.redisVersion) compatible) 64 bit
                ( ._>  /______
           ______`----'______/      Running in \(mode) mode
             `--.______,--'         Port: \(port)
                 \\_/                PID: \(pid)


        """
    }
}
