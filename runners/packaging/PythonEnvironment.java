package thingbeam;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.Paths;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import org.apache.beam.sdk.options.PipelineOptions;
import org.apache.beam.sdk.options.PipelineOptionsRegistrar;

/**
 * Unpacks the Python environment that came in the job's jar, once on each TaskManager.
 *
 * <p>Beam asks every registrar of options that it finds on the class path while its PipelineOptionsFactory is
 * initialized. Every task needs that class for the job's options before it can start a Python worker, and Java makes all
 * threads wait until a class is initialized. This registrar has no options: it takes the occasion. On the JobManager,
 * which starts no workers, it does nothing.
 *
 * <p>The jar's THINGBEAM-PYTHON/contents holds the folder to make in its first line, then the names of the zips beside
 * it. Of several processes on one machine one unpacks, the others wait; a folder is there only when it is whole.
 */
public final class PythonEnvironment implements PipelineOptionsRegistrar {
  private static final String HOME = "THINGBEAM-PYTHON/";
  private static final String TASK = "org.apache.flink.runtime.taskmanager.Task";
  private static final long PAUSE_MILLIS = 200;

  @Override
  public Iterable<Class<? extends PipelineOptions>> getPipelineOptions() {
    boolean onTaskManager =
        StackWalker.getInstance()
            .walk(frames -> frames.anyMatch(frame -> frame.getClassName().equals(TASK)));
    if (onTaskManager) {
      unpack();
    }
    return Collections.emptyList();
  }

  private static synchronized void unpack() {
    List<String> contents = contents();
    if (contents.isEmpty()) {
      return;
    }
    Path place = Paths.get(contents.get(0));
    if (Files.isDirectory(place)) {
      return;
    }
    try {
      Files.createDirectories(place.getParent());
      Path lock = place.resolveSibling(place.getFileName() + ".lock");
      try (FileChannel channel =
              FileChannel.open(lock, StandardOpenOption.CREATE, StandardOpenOption.WRITE);
          FileLock held = locked(channel)) {
        if (!Files.isDirectory(place)) {
          Path part = Files.createTempDirectory(place.getParent(), place.getFileName() + ".");
          for (String zip : contents.subList(1, contents.size())) {
            unzip(zip, part);
          }
          Files.move(part, place, StandardCopyOption.ATOMIC_MOVE);
        }
      }
    } catch (IOException error) {
      throw failure(place, error);
    }
  }

  private static RuntimeException failure(Path place, IOException error) {
    return new RuntimeException(
        "thingbeam: the Python environment cannot be unpacked to " + place + ": " + error, error);
  }

  /** Within one process, a lock that another loader's copy of this class holds is an exception, not a wait. */
  private static FileLock locked(FileChannel channel) throws IOException {
    while (true) {
      try {
        return channel.lock();
      } catch (OverlappingFileLockException error) {
        try {
          Thread.sleep(PAUSE_MILLIS);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw new IOException("interrupted", interrupted);
        }
      }
    }
  }

  private static List<String> contents() {
    List<String> lines = new ArrayList<>();
    InputStream found = resource("contents");
    if (found == null) {
      return lines;
    }
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(found, StandardCharsets.UTF_8))) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        if (!line.isEmpty()) {
          lines.add(line);
        }
      }
    } catch (IOException error) {
      throw new RuntimeException("thingbeam: the jar cannot be read: " + error, error);
    }
    return lines;
  }

  private static InputStream resource(String name) {
    return PythonEnvironment.class.getClassLoader().getResourceAsStream(HOME + name);
  }

  private static void unzip(String name, Path folder) throws IOException {
    InputStream found = resource(name);
    if (found == null) {
      throw new IOException(name + " is not in the jar");
    }
    try (ZipInputStream zip = new ZipInputStream(found)) {
      for (ZipEntry entry = zip.getNextEntry(); entry != null; entry = zip.getNextEntry()) {
        Path path = folder.resolve(entry.getName()).normalize();
        if (!path.startsWith(folder)) {
          throw new IOException(entry.getName() + " leads out of its folder");
        }
        if (entry.isDirectory()) {
          continue;
        }
        Files.createDirectories(path.getParent());
        Files.copy(zip, path);
        if (path.getFileName().toString().equals("boot")) {
          path.toFile().setExecutable(true);
        }
      }
    }
  }
}
