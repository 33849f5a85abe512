"""What the four steps do, with every library imported inside the function that uses it."""

# pandas, scikit-learn and MLflow ship no (or other) types.
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false, reportArgumentType=false
# pyright: reportOptionalMemberAccess=false


def split(data, train_data, test_data):
    """Split the CSV file ``data`` into two Parquet files."""
    import mlflow
    import pandas as pd
    from sklearn.model_selection import train_test_split

    with mlflow.start_run(nested=True):
        frame = pd.read_csv(data).drop(columns="PatientID")
        mlflow.log_metric("rows", len(frame))
        train, test = train_test_split(frame, test_size=0.3, random_state=0, stratify=frame["Diabetic"])
        train.to_parquet(f"{train_data}/data.parquet", index=False)
        test.to_parquet(f"{test_data}/data.parquet", index=False)


def fit(train_data, reg_rate, model):
    """Fit a scaled logistic regression and log it, as the quickstart of MLflow does; ``model`` gets its address."""
    import mlflow
    import mlflow.sklearn
    import pandas as pd
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with mlflow.start_run(nested=True):
        frame = pd.read_parquet(f"{train_data}/data.parquet")
        features, labels = frame.drop(columns="Diabetic"), frame["Diabetic"]
        classifier = make_pipeline(StandardScaler(), LogisticRegression(C=1 / reg_rate))
        classifier.fit(features, labels)
        mlflow.log_param("reg_rate", reg_rate)
        mlflow.log_metric("train_accuracy", classifier.score(features, labels))
        logged = mlflow.sklearn.log_model(classifier, name="model")
        with open(f"{model}/address.txt", "w") as file:
            file.write(logged.model_uri)


def evaluate(model, test_data, evaluation):
    """Measure the model on the test part; ``evaluation`` gets the metrics."""
    import json

    import mlflow
    import mlflow.sklearn
    import pandas as pd
    from sklearn.metrics import accuracy_score, roc_auc_score

    with mlflow.start_run(nested=True):
        frame = pd.read_parquet(f"{test_data}/data.parquet")
        features, labels = frame.drop(columns="Diabetic"), frame["Diabetic"]
        with open(f"{model}/address.txt") as file:
            classifier = mlflow.sklearn.load_model(file.read())
        scores = classifier.predict_proba(features)[:, 1]
        metrics = {"accuracy": accuracy_score(labels, scores > 0.5), "auc": roc_auc_score(labels, scores)}
        mlflow.log_metrics(metrics)
        with open(f"{evaluation}/metrics.json", "w") as file:
            json.dump(metrics, file)


def register(model, evaluation, model_name, registration):
    """Make the model a new version of ``model_name``; ``registration`` gets its number."""
    import mlflow
    import pandas as pd

    with mlflow.start_run(nested=True):
        metrics = pd.read_json(f"{evaluation}/metrics.json", typ="series")
        mlflow.log_metric("accuracy", metrics["accuracy"])
        with open(f"{model}/address.txt") as file:
            version = mlflow.register_model(file.read(), model_name)
        with open(f"{registration}/version.txt", "w") as file:
            file.write(str(version.version))
