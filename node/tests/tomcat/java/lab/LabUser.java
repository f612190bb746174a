package lab;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;

/** A class of an imaginary application, as the session probe describes it. */
public class LabUser implements Serializable {
    private static final long serialVersionUID = 42;

    public enum Level {
        GUEST,
        MEMBER,
        ADMIN
    }

    public String name;
    public int age;
    public long created;
    public boolean active;
    public double score;
    public Level level;
    public List<String> roles;
    public int[] marks;
    public LabUser boss;
    public transient String secret;

    public LabUser(String name, int age) {
        this.name = name;
        this.age = age;
        this.created = 1700000000000L + age;
        this.active = true;
        this.score = age / 4.0;
        this.level = Level.MEMBER;
        this.roles = new ArrayList<>(List.of("r-" + name, "all"));
        this.marks = new int[] {1, 2, 3};
        this.secret = "never sent";
    }

    /** From {@code name:age[:boss:age]}. */
    public static LabUser parse(String text) {
        String[] parts = text.split(":");
        if (parts.length != 2 && parts.length != 4) {
            throw new IllegalArgumentException("is not name:age or name:age:boss:age");
        }
        LabUser user = new LabUser(parts[0], Integer.parseInt(parts[1]));
        if (parts.length == 4) {
            user.boss = new LabUser(parts[2], Integer.parseInt(parts[3]));
        }
        return user;
    }
}
