import java.security.PrivilegedExceptionAction;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.hbase.HBaseConfiguration;
import org.apache.hadoop.hbase.TableName;
import org.apache.hadoop.hbase.client.Admin;
import org.apache.hadoop.hbase.client.ColumnFamilyDescriptorBuilder;
import org.apache.hadoop.hbase.client.Connection;
import org.apache.hadoop.hbase.client.ConnectionFactory;
import org.apache.hadoop.hbase.client.TableDescriptorBuilder;
import org.apache.hadoop.hbase.master.HMaster;
import org.apache.hadoop.hbase.security.access.AccessControlClient;
import org.apache.hadoop.hbase.security.access.Permission;
import org.apache.hadoop.hbase.security.access.PermissionStorage;
import org.apache.hadoop.hbase.thrift.ThriftServer;
import org.apache.hadoop.security.UserGroupInformation;

/**
 * HBase in one process: master, region server and ZooKeeper, and both Thrift gateways before them.
 *
 * <p>Arguments: the port of the first gateway (Thrift 1), that of the second (Thrift 2), and, where HBase asks for
 * permissions, the user that the gateways are. That user may make tables, and may do nothing to the table that is named
 * by the fourth argument.
 */
public final class LocalHBase {
  private LocalHBase() {}

  public static void main(String[] arguments) throws Exception {
    thread("master", () -> HMaster.main(new String[] {"start"}));
    Configuration configuration = HBaseConfiguration.create();
    Configuration impatient = new Configuration(configuration);
    impatient.setInt("hbase.client.retries.number", 1);
    try (Connection connection = connect(impatient)) {
      if (arguments.length > 2) {
        protect(connection, arguments[2], TableName.valueOf(arguments[3]));
      }
    }
    UserGroupInformation user =
        arguments.length > 2
            ? UserGroupInformation.createRemoteUser(arguments[2])
            : UserGroupInformation.getCurrentUser();
    serve(user, new ThriftServer(configuration), arguments[0]);
    Configuration second = new Configuration(configuration);
    serve(user, new org.apache.hadoop.hbase.thrift2.ThriftServer(second), arguments[1]);
  }

  /** A connection, once the master can make tables and has its own. */
  private static Connection connect(Configuration configuration) throws Exception {
    while (true) {
      try {
        Connection connection = ConnectionFactory.createConnection(configuration);
        try (Admin admin = connection.getAdmin()) {
          admin.listNamespaces();
          return connection;
        } catch (Exception error) {
          connection.close();
        }
      } catch (Exception error) {
        // It is still starting.
      }
      Thread.sleep(100);
    }
  }

  private static void protect(Connection connection, String user, TableName forbidden) throws Exception {
    try (Admin admin = connection.getAdmin()) {
      while (!admin.tableExists(PermissionStorage.ACL_TABLE_NAME)) {
        Thread.sleep(100);
      }
      try {
        AccessControlClient.grant(connection, user, Permission.Action.CREATE);
      } catch (Throwable error) {
        throw new IllegalStateException(error);
      }
      if (!admin.tableExists(forbidden)) {
        admin.createTable(
            TableDescriptorBuilder.newBuilder(forbidden)
                .setColumnFamily(ColumnFamilyDescriptorBuilder.of("d"))
                .build());
      }
    }
  }

  private static void serve(UserGroupInformation user, ThriftServer server, String port) {
    String[] arguments = {"-b", "127.0.0.1", "-p", port, "--infoport", "-1", "start"};
    thread(
        "thrift-" + port,
        () -> user.doAs((PrivilegedExceptionAction<Integer>) () -> server.run(arguments)));
  }

  /** Whatever of it ends, all of it ends. */
  private static void thread(String name, Body body) {
    Thread thread =
        new Thread(
            () -> {
              try {
                body.run();
              } catch (Throwable error) {
                error.printStackTrace();
              }
              Runtime.getRuntime().halt(1);
            },
            name);
    thread.start();
  }

  private interface Body {
    void run() throws Exception;
  }
}
