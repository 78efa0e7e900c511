export declare const s3ServerPath: string;
export declare function makeS3Server(): void;
