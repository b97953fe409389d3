import java.lang.instrument.Instrumentation;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.SocketAddress;
import java.util.jar.JarFile;
import net.bytebuddy.agent.builder.AgentBuilder;
import net.bytebuddy.asm.Advice;
import net.bytebuddy.matcher.ElementMatchers;

/**
 * Keeps the servers of Beam's Java side to this machine.
 *
 * <p>Beam asks gRPC for a port of every address, whatever host it was told, and whoever reaches a job service can run
 * programs. The argument, if any, is a jar to add to the class path: one that is added so is not sent along with each
 * job by Beam's job server, which is right where the cluster has it already.
 */
public final class Loopback {
  private Loopback() {}

  public static void premain(String jar, Instrumentation instrumentation) throws Exception {
    if (jar != null && !jar.isEmpty()) {
      instrumentation.appendToSystemClassLoaderSearch(new JarFile(jar));
    }
    Patch.install(instrumentation);
  }

  /** Apart from Loopback, so that its libraries are looked for when the jar is there. */
  static final class Patch {
    static void install(Instrumentation instrumentation) {
      new AgentBuilder.Default()
          .with(AgentBuilder.TypeStrategy.Default.DECORATE)
          .with(AgentBuilder.InitializationStrategy.NoOp.INSTANCE)
          .with(AgentBuilder.Listener.StreamWriting.toSystemError().withErrorsOnly())
          .type(ElementMatchers.nameEndsWith("io.grpc.netty.NettyServerBuilder"))
          .transform(
              (builder, type, loader, module, domain) ->
                  builder.visit(
                      Advice.to(Bind.class)
                          .on(
                              ElementMatchers.isConstructor()
                                  .and(ElementMatchers.takesArgument(0, SocketAddress.class)))))
          .installOn(instrumentation);
    }
  }

  /** Inlined at the beginning of the constructors. */
  static final class Bind {
    @Advice.OnMethodEnter
    static void enter(@Advice.Argument(value = 0, readOnly = false) SocketAddress address) {
      if (address instanceof InetSocketAddress && ((InetSocketAddress) address).getAddress().isAnyLocalAddress()) {
        address = new InetSocketAddress(InetAddress.getLoopbackAddress(), ((InetSocketAddress) address).getPort());
      }
    }
  }
}
