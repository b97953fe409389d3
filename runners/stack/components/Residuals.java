package thingbeam;

import java.util.Collections;
import net.bytebuddy.asm.Advice;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.DelayedBundleApplication;
import org.apache.beam.model.fnexecution.v1.BeamFnApi.ProcessBundleResponse;
import org.apache.beam.runners.core.StateInternals;
import org.apache.beam.runners.core.StateInternalsFactory;
import org.apache.beam.runners.core.StateNamespace;
import org.apache.beam.runners.core.StateNamespaces;
import org.apache.beam.runners.core.StateTags;
import org.apache.beam.runners.core.TimerInternals;
import org.apache.beam.runners.core.TimerInternalsFactory;
import org.apache.beam.sdk.coders.Coder;
import org.apache.beam.sdk.state.TimeDomain;
import org.apache.beam.sdk.state.ValueState;
import org.apache.beam.sdk.transforms.windowing.BoundedWindow;
import org.apache.beam.sdk.util.CoderUtils;
import org.apache.beam.sdk.values.WindowedValue;
import org.apache.beam.sdk.values.WindowedValues;
import org.apache.beam.vendor.grpc.v1p69p0.com.google.protobuf.Timestamp;
import org.joda.time.Instant;

/**
 * Mends how Beam's Flink runner 2.70 keeps the rest of a splittable DoFn's work until it goes on.
 *
 * <p>The runner makes a new state for each rest and never clears it (https://github.com/apache/beam/issues/27648). A
 * state has a table for each key group, so that a source that returns eight times a second fills the heap of a
 * TaskManager within minutes. And it cuts the delay that is asked for to whole seconds: below one second there is none.
 * Here a rest takes the first state that is empty, which is emptied when the rest goes on; states are named and encoded
 * as the runner's own.
 */
public final class Residuals {
  private static final String PREFIX = "sdf_checkpoint";

  private Residuals() {}

  /** Stands in for the runner's own method. */
  static final class Keep {
    @Advice.OnMethodEnter(skipOn = Advice.OnNonDefaultValue.class)
    static boolean enter(
        @Advice.FieldValue("timerInternalsFactory") TimerInternalsFactory<?> timers,
        @Advice.FieldValue("stateInternalsFactory") StateInternalsFactory<?> states,
        @Advice.FieldValue("residualCoder") Coder<?> coder,
        @Advice.FieldValue("windowCoder") Coder<?> windowCoder,
        @Advice.Argument(0) ProcessBundleResponse response) {
      Residuals.keep(timers, states, coder, windowCoder, response);
      return true;
    }
  }

  /** When a rest has gone on. */
  static final class Clear {
    @Advice.OnMethodExit
    static void exit(
        @Advice.FieldValue("keyedStateInternals") StateInternals states,
        @Advice.FieldValue("residualCoder") Coder<?> coder,
        @Advice.FieldValue("windowCoder") Coder<?> windowCoder,
        @Advice.Argument(0) String timer,
        @Advice.Argument(3) BoundedWindow window) {
      Residuals.clear(states, coder, windowCoder, timer, window);
    }
  }

  /** Puts what is left of each element into a state, and sets the timer at which it goes on. */
  @SuppressWarnings({"rawtypes", "unchecked"})
  public static void keep(
      TimerInternalsFactory timers,
      StateInternalsFactory states,
      Coder coder,
      Coder windowCoder,
      ProcessBundleResponse response) {
    for (DelayedBundleApplication rest : response.getResidualRootsList()) {
      if (!rest.hasApplication()) {
        continue;
      }
      try {
        byte[] encoded = rest.getApplication().getElement().toByteArray();
        WindowedValue<Object> value = (WindowedValue<Object>) CoderUtils.decodeFromByteArray(coder, encoded);
        StateInternals ofKey = states.stateInternalsForKey(value.getValue());
        TimerInternals timersOfKey = timers.timerInternalsForKey(value.getValue());
        Instant at = Instant.now();
        if (rest.hasRequestedTimeDelay()) {
          at = at.plus(millis(rest.getRequestedTimeDelay().getSeconds(), rest.getRequestedTimeDelay().getNanos()));
        }
        Instant hold = BoundedWindow.TIMESTAMP_MAX_VALUE;
        for (Timestamp watermark : rest.getApplication().getOutputWatermarksMap().values()) {
          Instant one = new Instant(millis(watermark.getSeconds(), watermark.getNanos()));
          hold = one.isBefore(hold) ? one : hold;
        }
        if (rest.getApplication().getOutputWatermarksMap().isEmpty()) {
          hold = BoundedWindow.TIMESTAMP_MIN_VALUE;
        }
        for (BoundedWindow window : (Iterable<BoundedWindow>) value.getWindows()) {
          StateNamespace namespace = StateNamespaces.window(windowCoder, window);
          int slot = 0;
          while (cell(ofKey, namespace, name(slot), coder).read() != null) {
            slot++;
          }
          timersOfKey.setTimer(namespace, name(slot), "", at, hold, TimeDomain.PROCESSING_TIME);
          cell(ofKey, namespace, name(slot), coder)
              .write(
                  WindowedValues.of(
                      value.getValue(), value.getTimestamp(), Collections.singletonList(window), value.getPaneInfo()));
        }
      } catch (Exception e) {
        throw new RuntimeException("cannot keep what a splittable DoFn left", e);
      }
    }
  }

  /** Empties the state of a rest that has gone on, if the timer was one. */
  @SuppressWarnings({"rawtypes", "unchecked"})
  public static void clear(
      StateInternals states, Coder coder, Coder windowCoder, String timer, BoundedWindow window) {
    if (timer.startsWith(PREFIX)) {
      cell(states, StateNamespaces.window(windowCoder, window), timer, coder).clear();
    }
  }

  @SuppressWarnings({"rawtypes", "unchecked"})
  private static ValueState<WindowedValue<Object>> cell(
      StateInternals states, StateNamespace namespace, String name, Coder coder) {
    return states.state(namespace, StateTags.value(name, (Coder<WindowedValue<Object>>) coder));
  }

  private static String name(int slot) {
    return PREFIX + ":0:" + slot;
  }

  private static long millis(long seconds, int nanos) {
    return seconds * 1000 + nanos / 1_000_000;
  }
}
