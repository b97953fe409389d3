package thingbeam;

import net.bytebuddy.asm.Advice;
import org.apache.beam.runners.fnexecution.control.BundleCheckpointHandlers.StateAndTimerBundleCheckpointHandler;

/**
 * Mends what Beam's Flink runner 2.70 does where elements go to a worker as they come.
 *
 * <p>The runner keeps what is for a worker until it is more than {@code --experiments=data_buffer_size_limit=BYTES}, a
 * million if nothing is said, or the bundle ends: a worker begins when its bundle is over, and the task waits for it.
 * With 0 it works meanwhile. But a timer fires with the state's lock held; were it sent at once, and the channel full of
 * elements that the worker cannot take before it is told some state, both would wait for ever. So what a timer says goes
 * with the next element, or when the bundle ends. What is left of a splittable DoFn's work comes by a timer, too, and
 * goes at once: its step has no state.
 */
public final class Promptness {
  private static final ThreadLocal<Boolean> HELD = ThreadLocal.withInitial(() -> false);

  private Promptness() {}

  /** Around what a timer says. */
  static final class Firing {
    @Advice.OnMethodEnter
    static void enter(@Advice.Argument(0) String timer) {
      Promptness.hold(!StateAndTimerBundleCheckpointHandler.isSdfTimer(timer));
    }

    @Advice.OnMethodExit(onThrowable = Throwable.class)
    static void exit() {
      Promptness.hold(false);
    }
  }

  /** Leaves out the sending, but for that at the end of a bundle, which is another method's. */
  static final class Sending {
    @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
    static boolean enter() {
      return Promptness.isHeld();
    }
  }

  /** Says whether this thread is in a timer that must not wait for the channel. */
  public static void hold(boolean held) {
    HELD.set(held);
  }

  /** Whether nothing is to be sent now. */
  public static boolean isHeld() {
    return HELD.get();
  }
}
