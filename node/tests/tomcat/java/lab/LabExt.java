package lab;

import java.io.Externalizable;
import java.io.IOException;
import java.io.ObjectInput;
import java.io.ObjectOutput;

/** An Externalizable of the imaginary application: only its own class can read it. */
public class LabExt implements Externalizable {
    private static final long serialVersionUID = 7;

    public String text;
    public int n;

    public LabExt() {}

    public LabExt(String text, int n) {
        this.text = text;
        this.n = n;
    }

    /** From {@code text:n}. */
    public static LabExt parse(String value) {
        String[] parts = value.split(":");
        if (parts.length != 2) {
            throw new IllegalArgumentException("is not text:n");
        }
        return new LabExt(parts[0], Integer.parseInt(parts[1]));
    }

    @Override
    public void writeExternal(ObjectOutput out) throws IOException {
        out.writeInt(n);
        out.writeUTF(text);
    }

    @Override
    public void readExternal(ObjectInput in) throws IOException {
        n = in.readInt();
        text = in.readUTF();
    }
}
